package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// writeLayout adds an image to a layout, under a tag if that is not empty.
func writeLayout(t testing.TB, dir, tag string, img v1.Image) {
	t.Helper()
	p, err := layout.FromPath(dir)
	if err != nil {
		if p, err = layout.Write(dir, empty.Index); err != nil {
			t.Fatal(err)
		}
	}
	var opts []layout.Option
	if tag != "" {
		opts = append(opts, layout.WithAnnotations(map[string]string{refNameAnnotation: tag}))
	}
	if err := p.AppendImage(img, opts...); err != nil {
		t.Fatal(err)
	}
}

// tarDir archives a directory.
func tarDir(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLocalSources(t *testing.T) {
	img := testImage(t, tarOf(t, map[string]string{"f": "local"}))
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, dir, "", img)
	tagged := filepath.Join(t.TempDir(), "tagged")
	writeLayout(t, tagged, "v1", testImage(t, tarOf(t, map[string]string{"f": "other"})))
	writeLayout(t, tagged, "v2", img)
	saved := filepath.Join(t.TempDir(), "saved.tar")
	tag, err := name.NewTag("example.com/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(saved, tag, img); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{})
	for _, ref := range []string{
		"oci-layout:" + dir, "oci-layout:" + tagged + ":v2", "oci-archive:" + tarDir(t, dir), "oci-archive:" + tarDir(t, tagged) + ":v2",
		"docker-archive:" + saved,
	} {
		got := ensure(t, s, ref, IfNotPresent)
		if c := content(t, got, "/f"); c != "local" || got.Reference != ref {
			t.Errorf("%s: content %q of %+v", ref, c, got)
		}
		if _, err := s.Get(ref, amd64); err != nil {
			t.Error(err)
		}
	}
	for ref, want := range map[string]error{
		"oci-layout:" + tagged:             ErrInvalid, // which of the two?
		"oci-layout:" + tagged + ":v3":     ErrNotFound,
		"oci-layout:" + dir + "/none":      ErrNotFound,
		"oci-archive:" + dir + "/none":     ErrNotFound,
		"docker-archive:" + tarDir(t, dir): ErrInvalid,
		"oci-archive:" + saved:             ErrInvalid,
	} {
		if _, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", ref, err, want)
		}
	}
}

func TestLocalSourceThatChangesIsSeen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	s := open(t, Options{})
	for _, want := range []string{"one", "two"} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		writeLayout(t, dir, "", testImage(t, tarOf(t, map[string]string{"f": want})))
		if got := content(t, ensure(t, s, "oci-layout:"+dir, IfNotPresent), "/f"); got != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
}

// TestTruncatedArchiveIsRefused cuts archives at many places.
func TestTruncatedArchiveIsRefused(t *testing.T) {
	img := testImage(t, tarOf(t, map[string]string{"f": strings.Repeat("some content ", 2000)}))
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, dir, "", img)
	saved := filepath.Join(t.TempDir(), "saved.tar")
	tag, err := name.NewTag("example.com/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(saved, tag, img); err != nil {
		t.Fatal(err)
	}
	for kind, file := range map[string]string{"oci-archive": tarDir(t, dir), "docker-archive": saved} {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// The last blocks are padding.
		for _, n := range []int{0, 100, 511, 512, 700, len(whole) / 3, len(whole) / 2, len(whole) - 2600} {
			t.Run(fmt.Sprintf("%s at %d of %d", kind, n, len(whole)), func(t *testing.T) {
				s := open(t, Options{})
				if err := os.WriteFile(file, whole[:n], 0o600); err != nil {
					t.Fatal(err)
				}
				_, err := s.Ensure(t.Context(), kind+":"+file, EnsureOptions{Platform: amd64})
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), file) {
					t.Errorf("got %v, want ErrInvalid that names the file", err)
				}
				nothingLeft(t, s)
				if list, err := s.List(); err != nil || len(list) != 0 {
					t.Errorf("List: %v, %v, want nothing", list, err)
				}
			})
		}
	}
}

func TestNamedPipeInPlaceOfAnArchiveKeepsNobodyWaiting(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	dir := t.TempDir()
	for _, path := range []string{pipe, filepath.Join(dir, "index.json")} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Options{})
	for _, ref := range []string{"oci-archive:" + pipe, "docker-archive:" + pipe, "oci-layout:" + dir} {
		if _, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want a refusal", ref, err)
		}
	}
}

func TestLayoutCannotLeadOutOfItself(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"schemaVersion":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(secret, filepath.Join(dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, Options{}).Ensure(t.Context(), "oci-layout:"+dir, EnsureOptions{Platform: amd64})
	if err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("got %v, want a refusal", err)
	}
}

// TestSkopeosArchives uses a real program's archives of a real program's image.
func TestSkopeosArchives(t *testing.T) {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf(`%v: run "make setup" (package busybox-static)`, err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, dir, "", testImage(t, tarOf(t, map[string]string{"bin/busybox": string(busybox)})))
	s := open(t, Options{})
	for _, kind := range []string{"oci-archive", "docker-archive", "oci"} {
		dest := filepath.Join(t.TempDir(), "image")
		cmd := exec.CommandContext(t.Context(), "skopeo", "copy", "--insecure-policy", "oci:"+dir, kind+":"+dest+":example.com/busybox:v1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf(`skopeo: %v: run "make setup"`+"\n%s", err, out)
		}
		if kind == "oci" {
			kind = "oci-layout"
		}
		img := ensure(t, s, kind+":"+dest, IfNotPresent)
		if got := content(t, img, "/bin/busybox"); got != string(busybox) {
			t.Errorf("%s: /bin/busybox has %d bytes, want %d", kind, len(got), len(busybox))
		}
		if img.Config.User != "1000:100" {
			t.Errorf("%s: config %+v", kind, img.Config)
		}
	}
}

func TestArchiveOfOldDockerWithLinkedLayers(t *testing.T) {
	layer := tarOf(t, map[string]string{"f": "x"})
	config, err := json.Marshal(v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{hashOf(layer), hashOf(layer)}}})
	if err != nil {
		t.Fatal(err)
	}
	manifest := `[{"Config":"c.json","Layers":["a/layer.tar","b/layer.tar"]}]`
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content []byte) {
		t.Helper()
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "b/layer.tar", Linkname: "../a/layer.tar"}, nil)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "a/layer.tar"}, layer)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "c.json"}, config)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "manifest.json"}, []byte(manifest))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "old.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := content(t, ensure(t, open(t, Options{}), "docker-archive:"+file, IfNotPresent), "/f"); got != "x" {
		t.Errorf("content %q", got)
	}
	// The same, with the archive compressed: refused in words.
	if err := os.WriteFile(file, gzipped(t, b.Bytes()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, Options{}).Ensure(t.Context(), "docker-archive:"+file, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "compressed") {
		t.Errorf("got %v", err)
	}
}

func TestReferences(t *testing.T) {
	for ref, want := range map[string]string{
		"nginx":                          "docker.io/library/nginx:latest",
		"docker.io/library/nginx:alpine": "docker.io/library/nginx:alpine",
		"ghcr.io/a/b@sha256:" + strings.Repeat("a", 64): "ghcr.io/a/b@sha256:" + strings.Repeat("a", 64),
		"127.0.0.1:5000/x:1":                            "127.0.0.1:5000/x:1",
		"oci-layout:/a/b":                               "oci-layout:/a/b",
		"oci-layout:/a/b:tag":                           "oci-layout:/a/b:tag",
		"oci-archive:/a:b/c.tar":                        "oci-archive:/a:b/c.tar",
		"oci-archive:/a/c.tar:host/x:v1":                "oci-archive:/a/c.tar:host/x:v1",
		"docker-archive:/a/b:c.tar":                     "docker-archive:/a/b:c.tar",
		"":                                              "",
		"UPPER/case":                                    "",
		"a b":                                           "",
		"oci-layout:":                                   "",
		"oci-layout:/a:":                                "",
		"http://example.com/x":                          "",
	} {
		got, err := parseReference(ref)
		if got.canonical != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", ref, got.canonical, err, want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", ref, err)
		}
		if again, err := parseReference(got.canonical); want != "" && (err != nil || again.canonical != want) {
			t.Errorf("%q: the canonical form means %q, %v", ref, again.canonical, err)
		}
	}
}

// FuzzManifest feeds arbitrary manifests, indexes and configs to what reads them.
func FuzzManifest(f *testing.F) {
	img := testImage(f, tarOf(f, map[string]string{"f": "x"}))
	manifest, err := img.RawManifest()
	if err != nil {
		f.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(manifest, config)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:00","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		if d, err := pick(manifest, v1.Platform{OS: "linux", Architecture: "amd64"}); err == nil && len(d.Digest.Hex) != 64 {
			t.Fatalf("digest %q", d.Digest)
		}
		m, err := parseManifest(manifest)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		for _, d := range blobsOf(m) {
			if strings.ContainsAny(d.Digest.Hex, "/.") || len(d.Digest.Hex) != 64 || d.Size < 0 {
				t.Fatalf("descriptor %+v", d)
			}
		}
		if c, err := parseConfig(config, m); err == nil && len(c.RootFS.DiffIDs) != len(m.Layers) {
			t.Fatal("layers without diff ID")
		}
	})
}

// FuzzArchive feeds arbitrary archives to the local sources.
func FuzzArchive(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "layout")
	writeLayout(f, dir, "", testImage(f, tarOf(f, map[string]string{"f": "x"})))
	b, err := os.ReadFile(tarDir(f, dir))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := openTar(file)
		if err != nil {
			return
		}
		defer a.Close()
		platform := v1.Platform{OS: "linux", Architecture: "amd64"}
		for _, src := range []source{&ociSource{files: a}, &dockerSource{files: a}} {
			c, err := choose(t.Context(), src, platform)
			if err != nil {
				continue
			}
			for _, d := range blobsOf(c.manifest) {
				if r, err := src.blob(t.Context(), d); err == nil {
					_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
					r.Close()
				}
			}
		}
	})
}
