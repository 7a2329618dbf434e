package images

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// ranged serves one content, and cuts each answer after some bytes.
type ranged struct {
	content  []byte
	each     int
	requests atomic.Int32
	plain    bool // knows nothing of ranges
}

func (s *ranged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if s.plain {
		r.Header.Del("Range")
	}
	http.ServeContent(&cutWriter{w, s.each}, r, "", time.Time{}, bytes.NewReader(s.content))
}

func TestBrokenDownloadGoesOnWhereItEnded(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	for name, tc := range map[string]struct {
		server   *ranged
		requests int32
		whole    bool
	}{
		"often, but on":      {&ranged{content: content, each: 100 << 10}, 11, true},
		"without getting on": {&ranged{content: content, each: 10}, 3, false},
		"no ranges":          {&ranged{content: content, each: 100 << 10, plain: true}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(tc.server)
			defer srv.Close()
			p := patience{stall: 5 * time.Second, backoff: []time.Duration{time.Millisecond, time.Millisecond}}
			client := &http.Client{Transport: &resumer{next: newTransport(nil), patience: p}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var got bytes.Buffer
			_, err = got.ReadFrom(resp.Body)
			if whole := err == nil && bytes.Equal(got.Bytes(), content); whole != tc.whole {
				t.Errorf("%d bytes came, %v; want whole = %v", got.Len(), err, tc.whole)
			}
			if !tc.whole && !transient(err) {
				t.Errorf("got %v, want what may pass", err)
			}
			if n := tc.server.requests.Load(); n != tc.requests {
				t.Errorf("%d requests, want %d", n, tc.requests)
			}
		})
	}
}

func TestMirrorIsAskedFirst(t *testing.T) {
	image := testImage(t, tarOf(t, map[string]string{"f": "x"}))
	for name, tc := range map[string]struct {
		mirror func(t *testing.T, origin *server) (url string, asked func() bool)
		origin bool // is asked
	}{
		"has it": {func(t *testing.T, _ *server) (string, func() bool) {
			m := newServer(t, nil)
			m.push(t, "app:v1", image)
			return "http://" + m.host, func() bool { return m.count(http.MethodGet, "/v2/app/blobs/") > 0 }
		}, false},
		"below a path": {func(t *testing.T, _ *server) (string, func() bool) {
			m := newServer(t, nil)
			m.push(t, "cache/of/app:v1", image)
			return "http://" + m.host + "/cache/of/", func() bool { return m.count(http.MethodGet, "/v2/cache/of/app/blobs/") > 0 }
		}, false},
		"has it not": {func(t *testing.T, _ *server) (string, func() bool) {
			m := newServer(t, nil)
			return "http://" + m.host, func() bool { return m.count(http.MethodGet, "/v2/app/manifests/") > 0 }
		}, true},
		"loses its blobs": {func(t *testing.T, _ *server) (string, func() bool) {
			var armed atomic.Bool
			m := newServer(t, only("/blobs/", &armed, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
			m.push(t, "app:v1", image)
			armed.Store(true)
			return "http://" + m.host, func() bool { return m.count(http.MethodGet, "/v2/app/manifests/") > 0 }
		}, true},
		"is not there": {func(*testing.T, *server) (string, func() bool) {
			return "http://127.0.0.1:1", func() bool { return true }
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newServer(t, nil)
			ref := origin.push(t, "app:v1", image)
			url, asked := tc.mirror(t, origin)
			before := origin.count(http.MethodGet, "/v2/app/")
			s := open(t, Options{Registries: Registries{Mirrors: []Mirror{{Host: origin.host, URL: url}}}})
			if img := ensure(t, s, ref, IfNotPresent); img.Reference != ref {
				t.Errorf("it is called %s, want %s", img.Reference, ref)
			}
			if !asked() {
				t.Error("the mirror was not asked")
			}
			if got := origin.count(http.MethodGet, "/v2/app/") > before; got != tc.origin {
				t.Errorf("the registry itself was asked: %v, want %v", got, tc.origin)
			}
		})
	}
}

func TestWhatAMirrorGivesIsVerified(t *testing.T) {
	origin, mirror := newServer(t, nil), newServer(t, nil)
	ref := origin.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	mirror.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "evil"})))
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Get(tag)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Registries: Registries{Mirrors: []Mirror{{Host: origin.host, URL: "http://" + mirror.host}}}})
	img := ensure(t, s, origin.host+"/app@"+desc.Digest.String(), IfNotPresent)
	if got := content(t, img, "f"); got != "x" {
		t.Errorf("what is pinned holds %q", got)
	}
}

func TestCertificateOfARegistry(t *testing.T) {
	plain := newServer(t, nil)
	image := testImage(t, tarOf(t, map[string]string{"f": "x"}))
	plain.push(t, "app:v1", image)
	secure := httptest.NewTLSServer(plain.Config.Handler)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(secure.URL, "https://")
	for name, tc := range map[string]struct {
		registries Registries
		works      bool
	}{
		"unknown":  {Registries{}, false},
		"known":    {Registries{CAFiles: map[string]string{host: ca}}, true},
		"insecure": {Registries{Insecure: []string{host}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, Options{Registries: tc.registries}).Ensure(t.Context(), host+"/app:v1", EnsureOptions{Platform: amd64})
			if (err == nil) != tc.works {
				t.Errorf("got %v, want it to work: %v", err, tc.works)
			}
		})
	}
}

func TestRegistriesThatMakeNoSense(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		mirrors, insecure, caFiles []string
		says                       string
	}{
		{mirrors: []string{"docker.io"}, says: "HOST=URL"},
		{mirrors: []string{"docker.io=mirror.lan"}, says: "https://mirror.example.org"},
		{mirrors: []string{"docker.io=https://me:s3cret@mirror.lan"}, says: "https://mirror.example.org"},
		{mirrors: []string{"docker.io/library=https://mirror.lan"}, says: "registry.example.org"},
		{insecure: []string{"https://lan"}, says: "registry.example.org"},
		{caFiles: []string{"lan"}, says: "HOST=FILE"},
		{caFiles: []string{"lan=/does/not/exist"}, says: "no such file"},
		{caFiles: []string{"lan=" + empty}, says: "no certificate"},
	} {
		_, err := ParseRegistries(tc.mirrors, tc.insecure, tc.caFiles)
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v, want what says %q and no password", tc, err, tc.says)
		}
	}
	if _, err := ParseRegistries([]string{"docker.io=https://mirror.lan/path"}, []string{"10.0.0.1:5000"}, nil); err != nil {
		t.Error(err)
	}
}

func dockerConfig(auths map[string]string) []byte {
	entries := map[string]any{}
	for key, login := range auths {
		entries[key] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(login))}
	}
	b, err := json.Marshal(map[string]any{"auths": entries})
	if err != nil {
		panic(err)
	}
	return b
}

func TestPullSecretOpensARegistry(t *testing.T) {
	srv := newServer(t, withPassword)
	ref := srv.host + "/private:v1"
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, testImage(t, tarOf(t, map[string]string{"f": "x"})), remote.WithAuth(&authn.Basic{Username: "me", Password: "s3cret"})); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{})
	for _, tc := range []struct {
		name   string
		config []byte
		want   error
	}{
		{"another registry", dockerConfig(map[string]string{"registry.lan": "me:s3cret"}), ErrUnauthorized},
		{"another password", dockerConfig(map[string]string{srv.host: "me:wr0ng"}), ErrUnauthorized},
		{"no configuration", []byte(`{"auths": "s3cret`), ErrInvalid},
		{"right", dockerConfig(map[string]string{"https://" + srv.host + "/v1/": "me:s3cret"}), nil},
	} {
		_, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64, Secrets: []PullSecret{{Name: "default/regcred", DockerConfig: tc.config}}})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng")) {
			t.Errorf("%s: the password is in the message: %v", tc.name, err)
		}
	}
}

func TestWhichPullSecretIsUsed(t *testing.T) {
	k, err := newKeychain([]PullSecret{{DockerConfig: dockerConfig(map[string]string{
		"registry.lan": "host:x", "registry.lan/team": "team:x", "registry.lan/team/app": "app:x",
		"*.example.org": "glob:x", "https://index.docker.io/v1/": "hub:x", "10.0.0.1:5000": "port:x",
	})}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"registry.lan/other":       "host",
		"registry.lan/teams":       "host",
		"registry.lan/team/other":  "team",
		"registry.lan/team/app":    "app",
		"registry.lan/team/app/x":  "app",
		"a.example.org/x":          "glob",
		"a.b.example.org/x":        "",
		"example.org/x":            "",
		"nginx":                    "hub",
		"docker.io/library/nginx":  "hub",
		"10.0.0.1:5000/x":          "port",
		"10.0.0.1:5001/x":          "",
		"registry.lan.evil.org/a":  "",
		"evil.registry.lan/team/x": "",
	} {
		repo, err := name.NewRepository(ref)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := k.Resolve(repo)
		if err != nil {
			t.Fatal(err)
		}
		config, err := auth.Authorization()
		if err != nil {
			t.Fatal(err)
		}
		if config.Username != want {
			t.Errorf("%s: %q, want %q", ref, config.Username, want)
		}
	}
	if fmt.Sprintf("%x", k.hash) == strings.Repeat("00", 32) {
		t.Error("credentials have no hash")
	}
}
