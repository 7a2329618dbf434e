package images

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func save(t testing.TB, s *Store, refs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(t.Context(), refs, amd64, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// load brings an archive in and returns the names of what came.
func load(t testing.TB, s *Store, archive []byte, name string) []string {
	t.Helper()
	loaded, err := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{Name: name, Platform: amd64})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, img := range loaded {
		names = append(names, img.Reference)
	}
	return names
}

func TestSavedImagesAreLoadedUnderTheirNames(t *testing.T) {
	srv := newServer(t, nil)
	one := srv.push(t, "team/one:v1", testImage(t, tarOf(t, map[string]string{"f": "one"}), tarOf(t, map[string]string{"g": "shared"})))
	two := srv.push(t, "two:v2", testImage(t, tarOf(t, map[string]string{"f": "two"}), tarOf(t, map[string]string{"g": "shared"})))
	from := open(t, Options{})
	digest := ensure(t, from, one, IfNotPresent).Digest
	ensure(t, from, two, IfNotPresent)
	archive := save(t, from, one, two)
	if again := save(t, from, one, two); !bytes.Equal(archive, again) {
		t.Error("the same images gave other bytes")
	}

	to := open(t, Options{})
	if diff := cmp.Diff([]string{one, two}, load(t, to, archive, "")); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	img, err := to.Ensure(t.Context(), one, EnsureOptions{Policy: Never, Platform: amd64})
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest != digest || content(t, img, "f") != "one" {
		t.Errorf("got %s with %q, want %s with \"one\"", img.Digest, content(t, img, "f"), digest)
	}
	if names := left(t, to.tempDir()); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

// Those who read what Save writes, and write what Load reads.
func TestArchivesOfOtherTools(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Fatal(`skopeo is missing: run "make setup"`)
	}
	srv := newServer(t, nil)
	image := testImage(t, tarOf(t, map[string]string{"f": "x"}))
	ref := srv.push(t, "app:v1", image)
	from := open(t, Options{})
	ensure(t, from, ref, IfNotPresent)
	archive := filepath.Join(t.TempDir(), "saved.tar")
	if err := os.WriteFile(archive, save(t, from, ref), 0o600); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("docker.io/library/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(t.TempDir(), "docker.tar")
	if err := tarball.WriteToFile(docker, tag, image); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ from, to, name, want string }{
		{"docker-archive:" + archive, "oci-archive:%s:v1", "registry.lan/a:v1", "registry.lan/a:v1"},
		{"oci-archive:" + archive, "oci-archive:%s:registry.lan/b:v1", "", "registry.lan/b:v1"},
		{"docker-archive:" + archive, "docker-archive:%s:app:v1", "", "docker.io/library/app:v1"},
		{"docker-archive:" + docker, "docker-archive:%s:app:v2", "", "docker.io/library/app:v2"},
	} {
		out := filepath.Join(t.TempDir(), "out.tar")
		cmd := exec.CommandContext(t.Context(), skopeo, "--insecure-policy", "copy", tc.from, strings.Replace(tc.to, "%s", out, 1))
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("skopeo copy %s: %v: %s", tc.from, err, text)
			continue
		}
		raw, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{tc.want}, load(t, open(t, Options{}), raw, tc.name)); diff != "" {
			t.Errorf("%s to %s: loaded (-want +got):\n%s", tc.from, tc.to, diff)
		}
	}
}

func TestWhatCannotBeLoaded(t *testing.T) {
	srv := newServer(t, nil)
	s := open(t, Options{})
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	ensure(t, s, ref, IfNotPresent)
	good := save(t, s, ref)
	for name, tc := range map[string]struct {
		archive []byte
		as      string
		want    error
		says    string
	}{
		"nothing":       {nil, "", ErrInvalid, "manifest.json"},
		"no archive":    {bytes.Repeat([]byte("text"), 1000), "", ErrInvalid, "tar archive"},
		"cut":           {good[:len(good)-3000], "", ErrInvalid, "truncated"},
		"another blob":  {bytes.Replace(good, []byte(`"Entrypoint":["/bin/entry"]`), []byte(`"Entrypoint":["/bin/entr!"]`), 1), "", ErrInvalid, "sha256"},
		"no name":       {bytes.ReplaceAll(bytes.ReplaceAll(good, []byte(nameAnnotation), []byte("io.containerd.image.n4me")), []byte("image.ref.name"), []byte("image.ref.n4me")), "", ErrInvalid, "no name for its image 1"},
		"name of a dir": {good, "oci-layout:/etc", ErrInvalid, "REGISTRY/NAME:TAG"},
		"digest":        {good, ref + "@sha256:" + strings.Repeat("0", 64), ErrInvalid, "REGISTRY/NAME:TAG"},
	} {
		t.Run(name, func(t *testing.T) {
			to := open(t, Options{})
			_, err := to.Load(t.Context(), bytes.NewReader(tc.archive), LoadOptions{Name: tc.as, Platform: amd64})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v that says %q", err, tc.want, tc.says)
			}
			nothingLeft(t, to)
		})
	}
}

func TestTagIsOneMoreName(t *testing.T) {
	srv := newServer(t, nil)
	s := open(t, Options{})
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	want := ensure(t, s, ref, IfNotPresent).Digest
	if err := s.Tag(t.Context(), ref, "registry.lan/app:stable"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(ref); err != nil {
		t.Fatal(err)
	}
	img, err := s.Ensure(t.Context(), "registry.lan/app:stable", EnsureOptions{Policy: Never, Platform: amd64})
	if err != nil || img.Digest != want || content(t, img, "f") != "x" {
		t.Errorf("got %+v, %v; want digest %s", img, err, want)
	}
	for name, want := range map[string]error{ref: ErrNotFound, "registry.lan/app:stable": nil} {
		if err := s.Tag(t.Context(), name, "registry.lan/app:other"); !errors.Is(err, want) {
			t.Errorf("tag %s: %v, want %v", name, err, want)
		}
	}
	if err := s.Tag(t.Context(), "registry.lan/app:stable", "docker-archive:/tmp/x.tar"); !errors.Is(err, ErrInvalid) {
		t.Errorf("tag with a path: %v, want ErrInvalid", err)
	}
}

func TestPushedImageIsTheSame(t *testing.T) {
	srv := newServer(t, nil)
	s := open(t, Options{})
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": strings.Repeat("x", 1<<20)})))
	want := ensure(t, s, ref, IfNotPresent).Digest
	to := srv.host + "/team/copy:v2"
	if err := s.Tag(t.Context(), ref, to); err != nil {
		t.Fatal(err)
	}
	var last Progress
	got, err := s.Push(t.Context(), to, PushOptions{Platform: amd64, Progress: func(p Progress) { last = p }})
	if err != nil || got != want {
		t.Fatalf("pushed %s, %v; want %s", got, err, want)
	}
	if last.Stage != StagePushing || last.Complete != last.Total || last.Total == 0 {
		t.Errorf("the last progress was %+v", last)
	}
	tag, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := remote.Get(tag)
	if err != nil || desc.Digest.String() != want {
		t.Errorf("the registry has %v, %v; want %s", desc, err, want)
	}

	if _, err := s.Push(t.Context(), srv.host+"/none:v1", PushOptions{Platform: amd64}); !errors.Is(err, ErrNotFound) {
		t.Errorf("push of what is not there: %v, want ErrNotFound", err)
	}
	if err := s.Tag(t.Context(), ref, "127.0.0.1:1/app:v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(t.Context(), "127.0.0.1:1/app:v1", PushOptions{Platform: amd64, Progress: func(Progress) {}}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("push to nobody: %v, want ErrUnreachable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Push(ctx, to, PushOptions{Platform: amd64, Progress: func(Progress) {}}); !errors.Is(err, context.Canceled) {
		t.Errorf("push that was given up: %v", err)
	}
}

func TestSaveSaysWhatIsMissing(t *testing.T) {
	srv := newServer(t, nil)
	s := open(t, Options{})
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	ensure(t, s, ref, IfNotPresent)
	var out bytes.Buffer
	if err := s.Save(t.Context(), []string{ref, srv.host + "/none:v1"}, amd64, &out); !errors.Is(err, ErrNotFound) || out.Len() > 0 {
		t.Errorf("got %v and %d bytes, want ErrNotFound and none", err, out.Len())
	}
	entries, err := s.entries(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := s.read(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.blobPath(m.Layers[0].Digest)); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), []string{ref}, amd64, &out); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "pull it again") || out.Len() > 0 {
		t.Errorf("got %v and %d bytes, want ErrNotFound that says what to do", err, out.Len())
	}
}
