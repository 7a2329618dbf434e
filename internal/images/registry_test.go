package images

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
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

// only wraps requests for blobs or manifests that are read.
func only(part string, armed *atomic.Bool, wrapped func(h http.Handler, w http.ResponseWriter, r *http.Request)) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if armed.Load() && r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) {
				wrapped(h, w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

// cutWriter passes on the first bytes of an answer.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	_, err := c.ResponseWriter.Write(p[:n])
	return len(p), err
}

// flipWriter changes every byte of an answer.
type flipWriter struct{ http.ResponseWriter }

func (f flipWriter) Write(p []byte) (int, error) {
	q := make([]byte, len(p))
	for i := range p {
		q[i] = ^p[i]
	}
	return f.ResponseWriter.Write(q)
}

func TestFailuresThatPassAreRetried(t *testing.T) {
	for name, tc := range map[string]struct {
		part string
		fail func(h http.Handler, w http.ResponseWriter, r *http.Request)
	}{
		"manifest 503": {"/manifests/", func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}},
		"blob 500": {"/blobs/", func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
		}},
		"cut blob": {"/blobs/", func(h http.Handler, w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&cutWriter{w, 50}, r) }},
		"connection ends": {"/blobs/", func(http.Handler, http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				armed atomic.Bool
				fails atomic.Int32
			)
			srv := newServer(t, only(tc.part, &armed, func(h http.Handler, w http.ResponseWriter, r *http.Request) {
				if fails.Add(1) > 2 {
					h.ServeHTTP(w, r)
					return
				}
				tc.fail(h, w, r)
			}))
			ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": strings.Repeat("abc", 1000)})))
			armed.Store(true)
			ensure(t, open(t, Options{}), ref, IfNotPresent)
			if fails.Load() < 3 {
				t.Errorf("%d requests, want failures and a success", fails.Load())
			}
		})
	}
}

func TestFailureThatStaysIsReported(t *testing.T) {
	var armed atomic.Bool
	srv := newServer(t, only("/blobs/", &armed, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	}))
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	armed.Store(true)
	s := open(t, Options{})
	_, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), srv.host) {
		t.Errorf("got %v, want ErrUnreachable that names the registry", err)
	}
	nothingLeft(t, s)
}

func TestBlobWithAnotherContentIsRefused(t *testing.T) {
	var armed atomic.Bool
	srv := newServer(t, only("/blobs/", &armed, func(h http.Handler, w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(flipWriter{w}, r)
	}))
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	armed.Store(true)
	s := open(t, Options{})
	_, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "sha256:") {
		t.Errorf("got %v, want ErrInvalid with the digests", err)
	}
	nothingLeft(t, s)
	if names := left(t, filepath.Join(s.dir, "blobs", "sha256")); len(names) != 0 {
		t.Errorf("stored: %v", names)
	}
}

func TestStalledDownloadEnds(t *testing.T) {
	var armed atomic.Bool
	srv := newServer(t, only("/blobs/", &armed, func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write([]byte("the beginning"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	armed.Store(true)
	s := open(t, Options{})
	s.patience.stall = 50 * time.Millisecond
	start := time.Now()
	_, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "stopped sending") {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	nothingLeft(t, s)
}

func TestRegistryThatDoesNotAnswerEnds(t *testing.T) {
	// A listener that accepts and says nothing.
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := open(t, Options{})
	s.patience.resolve = 200 * time.Millisecond
	_, err = s.Ensure(t.Context(), l.Addr().String()+"/app:v1", EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
}

func TestClosedPortIsUnreachable(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = open(t, Options{}).Ensure(t.Context(), addr+"/app:v1", EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want ErrUnreachable that names the registry", err)
	}
}

func TestUnknownImageIsNotFound(t *testing.T) {
	srv := newServer(t, nil)
	ref := srv.push(t, "app:v1", testImage(t))
	s := open(t, Options{})
	for _, ref := range []string{srv.host + "/app:v2", srv.host + "/other:v1"} {
		_, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64})
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "image "+ref) {
			t.Errorf("got %v, want ErrNotFound that names %s", err, ref)
		}
	}
	if _, err := s.Get(ref, amd64); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of what was not pulled: %v", err)
	}
}

// withPassword lets in who knows it.
func withPassword(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func TestCredentialsComeFromTheDockerConfig(t *testing.T) {
	srv := newServer(t, withPassword)
	ref := srv.host + "/private:v1"
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	me := &authn.Basic{Username: "me", Password: "s3cret"}
	if err := remote.Write(tag, testImage(t, tarOf(t, map[string]string{"f": "x"})), remote.WithAuth(me)); err != nil {
		t.Fatal(err)
	}
	config := t.TempDir()
	t.Setenv("DOCKER_CONFIG", config)
	login := func(password string) {
		t.Helper()
		b, err := json.Marshal(map[string]any{"auths": map[string]any{srv.host: map[string]string{"username": "me", "password": password}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(config, "config.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Options{Keychain: authn.DefaultKeychain})
	login("wr0ng")
	_, err = s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "vzctl registry login "+srv.host) {
		t.Errorf("wrong password: %v, want ErrUnauthorized that says what to do", err)
	}
	if strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("the password is in the message: %v", err)
	}
	login("s3cret")
	ensure(t, s, ref, IfNotPresent)
}
