package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	regserver "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// tarOf is a tar archive of regular files.
func tarOf(t testing.TB, contents map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range sortedKeys(contents) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(contents[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, contents[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// testImage is an image for linux/amd64 with a layer for each archive.
func testImage(t testing.TB, layers ...[]byte) v1.Image {
	t.Helper()
	return imageFor(t, "amd64", layers...)
}

func imageFor(t testing.TB, arch string, layers ...[]byte) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: arch,
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/bin/entry"}, Cmd: []string{"arg"}, Env: []string{"A=b"}, User: "1000:100", WorkingDir: "/work",
			StopSignal: "SIGQUIT", Labels: map[string]string{"l": "v"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}}, Volumes: map[string]struct{}{"/data": {}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// server is a registry on the loopback that counts what it is asked for.
type server struct {
	*httptest.Server
	host  string
	count func(method, part string) int
}

// newServer serves a registry through wrap, if that is not nil.
func newServer(t testing.TB, wrap func(http.Handler) http.Handler) *server {
	t.Helper()
	h := regserver.New(regserver.Logger(log.New(io.Discard, "", 0)))
	requests := make(chan string, 10_000)
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Method + " " + r.URL.Path
		h.ServeHTTP(w, r)
	})
	var handler http.Handler = counted
	if wrap != nil {
		handler = wrap(counted)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	var seen []string
	return &server{Server: s, host: strings.TrimPrefix(s.URL, "http://"), count: func(method, part string) int {
		for len(requests) > 0 {
			seen = append(seen, <-requests)
		}
		n := 0
		for _, r := range seen {
			if strings.HasPrefix(r, method+" ") && strings.Contains(r, part) {
				n++
			}
		}
		return n
	}}
}

func (s *server) push(t testing.TB, repo string, img v1.Image) string {
	t.Helper()
	ref := s.host + "/" + repo
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	return ref
}

// open returns a store that loses patience soon.
func open(t testing.TB, opts Options) *Store {
	t.Helper()
	if opts.Keychain == nil {
		opts.Keychain = authn.NewMultiKeychain()
	}
	s, err := Open(filepath.Join(t.TempDir(), "images"), opts)
	if err != nil {
		t.Fatal(err)
	}
	s.patience = patience{resolve: 5 * time.Second, stall: 2 * time.Second, backoff: []time.Duration{time.Millisecond, time.Millisecond}}
	return s
}

const amd64 = "linux/amd64"

func ensure(t testing.TB, s *Store, ref string, policy PullPolicy) *Image {
	t.Helper()
	img, err := s.Ensure(t.Context(), ref, EnsureOptions{Policy: policy, Platform: amd64})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// content reads a file of an image's base.
func content(t testing.TB, img *Image, file string) string {
	t.Helper()
	debugfs := "debugfs"
	for _, dir := range []string{"/sbin", "/usr/sbin"} {
		if p := filepath.Join(dir, "debugfs"); exists(p) {
			debugfs = p
		}
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), debugfs, "-R", fmt.Sprintf("cat %q", file), img.Rootfs)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf(`debugfs: %v: run "make setup" (package e2fsprogs)`, err)
	}
	return out.String()
}

// left lists what lies in a directory of the store.
func left(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func nothingLeft(t testing.TB, s *Store) {
	t.Helper()
	for _, dir := range []string{s.tempDir(), s.rootfsDir()} {
		if names := left(t, dir); len(names) != 0 {
			t.Errorf("%s holds %v, want nothing", filepath.Base(dir), names)
		}
	}
}

func TestPullFromRegistryUnpacksAndRemembers(t *testing.T) {
	srv := newServer(t, nil)
	pushed := testImage(t, tarOf(t, map[string]string{"etc/a": "lower", "etc/b": "b"}), tarOf(t, map[string]string{"etc/a": "upper"}))
	ref := srv.push(t, "team/app:v1", pushed)
	s := open(t, Options{})

	var stages []string
	img, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64, Progress: func(p Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
		if p.Complete > p.Total {
			t.Errorf("progress %+v", p)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, img, "/etc/a") + content(t, img, "/etc/b"); got != "upperb" {
		t.Errorf("content %q, want upperb", got)
	}
	digest, err := pushed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if img.Reference != ref || img.Digest != digest.String() || img.Platform != amd64 || img.SizeBytes == 0 || img.UnpackedBytes == 0 || time.Since(img.PulledAt) > time.Minute {
		t.Errorf("got %+v", img)
	}
	c := img.Config
	if got := fmt.Sprintln(c.Entrypoint, c.Cmd, c.Env, c.User, c.WorkingDir, c.StopSignal, c.Labels, c.ExposedPorts, c.Volumes); got !=
		"[/bin/entry] [arg] [A=b] 1000:100 /work SIGQUIT map[l:v] [443/tcp 80/tcp] [/data]\n" {
		t.Errorf("config %s", got)
	}
	if len(stages) == 0 || stages[0] != StageResolving {
		t.Errorf("stages %v", stages)
	}

	// Once it is there, nobody asks the registry.
	srv.Close()
	again := ensure(t, s, ref, IfNotPresent)
	got, err := s.Get(ref, amd64)
	if err != nil || again.Rootfs != img.Rootfs || got.Digest != img.Digest {
		t.Errorf("again: %+v, Get: %+v, %v", again, got, err)
	}
	reopened, err := Open(s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := reopened.List(); err != nil || len(list) != 1 || list[0].Reference != ref {
		t.Errorf("List: %v, %v", list, err)
	}
	// The store is an OCI layout that others can read.
	index, err := layout.ImageIndexFromPath(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := index.IndexManifest(); err != nil || len(m.Manifests) != 1 {
		t.Errorf("index: %v, %v", m, err)
	}
	if names := left(t, s.tempDir()); len(names) != 0 {
		t.Errorf("tmp holds %v", names)
	}
}

func TestPullPolicies(t *testing.T) {
	srv := newServer(t, nil)
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "one"})))
	s := open(t, Options{})
	if _, err := s.Ensure(t.Context(), ref, EnsureOptions{Policy: Never, Platform: amd64}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Never without the image: %v, want ErrNotFound", err)
	}
	ensure(t, s, ref, Always)
	srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "two"})))
	for policy, want := range map[PullPolicy]string{Never: "one", IfNotPresent: "one"} {
		if got := content(t, ensure(t, s, ref, policy), "/f"); got != want {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
	if got := content(t, ensure(t, s, ref, Always), "/f"); got != "two" {
		t.Errorf("Always: %q, want two", got)
	}
	if got := content(t, ensure(t, s, ref, IfNotPresent), "/f"); got != "two" {
		t.Errorf("afterwards: %q, want two", got)
	}
	if list, err := s.List(); err != nil || len(list) != 1 {
		t.Errorf("List: %v, %v, want one image", list, err)
	}
	if _, err := s.Ensure(t.Context(), ref, EnsureOptions{Policy: "Sometimes"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("unknown policy: %v", err)
	}
}

func TestDigestReferenceIsPinned(t *testing.T) {
	srv := newServer(t, nil)
	img := testImage(t, tarOf(t, map[string]string{"f": "one"}))
	srv.push(t, "app:v1", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{})
	ref := srv.host + "/app@" + digest.String()
	if got := ensure(t, s, ref, Always); got.Digest != digest.String() {
		t.Errorf("got %s", got.Digest)
	}
	before := srv.count(http.MethodGet, "/manifests/")
	ensure(t, s, ref, Always)
	if after := srv.count(http.MethodGet, "/manifests/"); after != before {
		t.Errorf("the registry was asked again for a digest: %d requests, then %d", before, after)
	}
	_, err = s.Ensure(t.Context(), srv.host+"/app@sha256:"+strings.Repeat("0", 64), EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown digest: %v, want ErrNotFound", err)
	}
}

func TestIndexPicksThePlatform(t *testing.T) {
	srv := newServer(t, nil)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: imageFor(t, "arm64", tarOf(t, map[string]string{"f": "arm"})), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: testImage(t, tarOf(t, map[string]string{"f": "amd"})), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: testImage(t), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
	)
	ref := srv.host + "/multi:latest"
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{})
	for platform, want := range map[string]string{"linux/amd64": "amd", "linux/arm64": "arm", "linux/arm64/v8": "arm"} {
		img, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: platform})
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, img, "/f"); got != want {
			t.Errorf("%s: %q, want %q", platform, got, want)
		}
	}
	_, err = s.Ensure(t.Context(), ref, EnsureOptions{Platform: "linux/riscv64"})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "linux/arm64/v8, linux/amd64") {
		t.Errorf("got %v, want ErrNotFound with what there is", err)
	}
	single := srv.push(t, "arm:v1", imageFor(t, "arm64"))
	if _, err = s.Ensure(t.Context(), single, EnsureOptions{Platform: amd64}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "made for linux/arm64") {
		t.Errorf("image of another platform: %v", err)
	}
}

func TestConcurrentEnsuresPullOnce(t *testing.T) {
	srv := newServer(t, nil)
	img := testImage(t, tarOf(t, map[string]string{"f": strings.Repeat("x", 100_000)}), tarOf(t, map[string]string{"g": "y"}))
	refs := []string{srv.push(t, "app:v1", img), srv.push(t, "app:v2", img)}
	blobs := srv.count(http.MethodGet, "/blobs/")
	s := open(t, Options{})
	errs := make(chan error, 20)
	for i := range cap(errs) {
		go func() {
			_, err := s.Ensure(t.Context(), refs[i%2], EnsureOptions{Platform: amd64})
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := srv.count(http.MethodGet, "/blobs/") - blobs; got != 3 {
		t.Errorf("%d blobs were fetched, want 3: config and two layers", got)
	}
	if list, err := s.List(); err != nil || len(list) != 2 || list[0].Rootfs != list[1].Rootfs {
		t.Errorf("List: %v, %v, want two references of one base", list, err)
	}
}

func TestOneWhoLeavesDoesNotStopTheOthers(t *testing.T) {
	var gate chan struct{}
	started := make(chan struct{}, 100)
	srv := newServer(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if gate != nil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				started <- struct{}{}
				select {
				case <-gate:
				case <-r.Context().Done():
				}
			}
			h.ServeHTTP(w, r)
		})
	})
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	gate = make(chan struct{})
	s := open(t, Options{})
	impatient, leave := context.WithCancel(t.Context())
	run := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := s.Ensure(ctx, ref, EnsureOptions{Platform: amd64})
			done <- err
		}()
		return done
	}
	first := run(impatient)
	<-started
	second := run(t.Context())
	waitFor(t, func() bool {
		s.calls.mu.Lock()
		defer s.calls.mu.Unlock()
		for key, f := range s.calls.m {
			if strings.HasPrefix(key, "ref ") && f.waiters == 2 {
				return true
			}
		}
		return false
	})
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who left got %v", err)
	}
	close(gate)
	if err := <-second; err != nil {
		t.Errorf("the one who stayed got %v", err)
	}
}

func TestWorkEndsWhenNobodyWaits(t *testing.T) {
	started, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	var block bool
	srv := newServer(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if block && strings.Contains(r.URL.Path, "/blobs/") {
				started <- struct{}{}
				<-r.Context().Done()
				ended <- struct{}{}
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	block = true
	s := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Ensure(ctx, ref, EnsureOptions{Platform: amd64})
		done <- err
	}()
	<-started
	cancel()
	<-ended
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waitFor(t, func() bool { return len(left(t, s.tempDir())) == 0 })
	nothingLeft(t, s)
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); !cond(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come about")
		}
	}
}

func TestRemoveKeepsWhatOthersNeed(t *testing.T) {
	srv := newServer(t, nil)
	shared := tarOf(t, map[string]string{"shared": strings.Repeat("s", 50_000)})
	a := srv.push(t, "a:v1", testImage(t, shared, tarOf(t, map[string]string{"a": "a"})))
	b := srv.push(t, "b:v1", testImage(t, shared, tarOf(t, map[string]string{"b": "b"})))
	s := open(t, Options{})
	imgA := ensure(t, s, a, IfNotPresent)
	imgB := ensure(t, s, b, IfNotPresent)
	freed, err := s.Remove(a)
	if err != nil || freed == 0 {
		t.Fatalf("freed %d, %v", freed, err)
	}
	if exists(imgA.Rootfs) || !exists(imgB.Rootfs) {
		t.Error("the wrong base was removed")
	}
	if _, err := s.Get(a, amd64); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of the removed one: %v", err)
	}
	// b can be unpacked anew from what is stored.
	srv.Close()
	if err := os.Remove(imgB.Rootfs); err != nil {
		t.Fatal(err)
	}
	if got := content(t, ensure(t, s, b, IfNotPresent), "/b"); got != "b" {
		t.Errorf("content %q", got)
	}
	if _, err := s.Remove(b); err != nil {
		t.Fatal(err)
	}
	if names := append(left(t, filepath.Join(s.dir, "blobs", "sha256")), left(t, s.rootfsDir())...); len(names) != 0 {
		t.Errorf("still there: %v", names)
	}
	if _, err := s.Remove(b); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Remove: %v", err)
	}
}

func TestOpenClearsWhatWasInterrupted(t *testing.T) {
	s := open(t, Options{})
	if err := os.WriteFile(filepath.Join(s.tempDir(), "blob-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir, Options{}); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, s)
}

func TestOpenLeavesTheFilesOfAnotherProcessAtWork(t *testing.T) {
	s := open(t, Options{})
	release, err := s.lock.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.tempDir(), "blob-123")
	if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir, Options{}); err != nil || !exists(file) {
		t.Errorf("Open: %v, file there: %v", err, exists(file))
	}
	release()
}

func TestBlobDamagedOnDiskIsFetchedAgain(t *testing.T) {
	srv := newServer(t, nil)
	img := testImage(t, tarOf(t, map[string]string{"f": "x"}))
	ref := srv.push(t, "app:v1", img)
	s := open(t, Options{})
	got := ensure(t, s, ref, IfNotPresent)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob, err := os.ReadFile(s.blobPath(digest))
	if err != nil {
		t.Fatal(err)
	}
	blob[len(blob)/2] ^= 0xff
	if err := os.WriteFile(s.blobPath(digest), blob, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(got.Rootfs); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v, want that it is damaged", err)
	}
	if got := content(t, ensure(t, s, ref, IfNotPresent), "/f"); got != "x" {
		t.Errorf("content %q", got)
	}
}

func TestLayerWithTraversalIsRefused(t *testing.T) {
	srv := newServer(t, nil)
	ref := srv.push(t, "evil:v1", testImage(t, tarOf(t, map[string]string{"../../evil": "x"})))
	s := open(t, Options{})
	_, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), `layer 1 of 1`) || !strings.Contains(err.Error(), `"../../evil"`) {
		t.Errorf("got %v, want ErrInvalid that names layer and entry", err)
	}
	nothingLeft(t, s)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v, want nothing", list, err)
	}
}

func TestArtifactIsNoImage(t *testing.T) {
	srv := newServer(t, nil)
	img := mutate.ConfigMediaType(testImage(t), "application/vnd.cncf.helm.config.v1+json")
	s := open(t, Options{})
	if _, err := s.Ensure(t.Context(), srv.push(t, "chart:v1", img), EnsureOptions{Platform: amd64}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "helm") {
		t.Errorf("got %v", err)
	}
}

func TestZstdLayer(t *testing.T) {
	srv := newServer(t, nil)
	plain := tarOf(t, map[string]string{"f": "zstd"})
	img, err := mutate.Append(testImage(t), mutate.Addendum{Layer: zstdLayer(t, plain), MediaType: types.OCILayerZStd})
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, ensure(t, open(t, Options{}), srv.push(t, "z:v1", img), IfNotPresent), "/f"); got != "zstd" {
		t.Errorf("content %q", got)
	}
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
