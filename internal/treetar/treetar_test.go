package treetar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// listing describes all that lies below a directory.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %x %s", len(data), sum(data), info.ModTime().UTC().Format(time.RFC3339Nano))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + target
		}
		all[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sum(b []byte) (n uint32) {
	for _, c := range b {
		n = n*31 + uint32(c)
	}
	return n
}

func writeFile(t *testing.T, path, data string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2021, 3, 4, 5, 6, 7, 891000000, time.UTC)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTreeComesOutAsItWentIn(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	tree := filepath.Join(src, "tree")
	must(t, os.MkdirAll(filepath.Join(tree, "a", "empty"), 0o755))
	writeFile(t, filepath.Join(tree, "a", "plain"), "text", 0o640)
	writeFile(t, filepath.Join(tree, "a", "suid"), "#!", 0o755|fs.ModeSetuid)
	writeFile(t, filepath.Join(tree, "a", strings.Repeat("n", 255)), "long", 0o600)
	must(t, os.Symlink("../../elsewhere", filepath.Join(tree, "soft")))
	must(t, os.Link(filepath.Join(tree, "a", "plain"), filepath.Join(tree, "hard")))
	must(t, os.Chmod(filepath.Join(tree, "a", "empty"), 0o500))
	holes := filepath.Join(tree, "holes")
	writeFile(t, holes, "", 0o600)
	f, err := os.OpenFile(holes, os.O_WRONLY, 0)
	must(t, err)
	for _, off := range []int64{0, 5 << 20, 64<<20 + 100} {
		_, err := f.WriteAt([]byte("data"), off)
		must(t, err)
	}
	must(t, f.Truncate(100<<20))
	must(t, f.Close())

	var archive bytes.Buffer
	must(t, Pack(t.Context(), &archive, openRoot(t, src), "tree", "tree", PackOptions{}))
	if archive.Len() > 1<<20 {
		t.Errorf("the archive has %d bytes: holes were packed", archive.Len())
	}
	a, err := Open(&archive)
	must(t, err)
	must(t, a.Unpack(t.Context(), openRoot(t, dst), UnpackOptions{KeepOwner: os.Geteuid() == 0}))
	want, got := listing(t, tree), listing(t, filepath.Join(dst, "tree"))
	if os.Geteuid() != 0 {
		want["a/suid"] = strings.Replace(want["a/suid"], "u", "-", 1)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d things came out, want %d", len(got), len(want))
	}
	info, err := os.Stat(filepath.Join(dst, "tree", "holes"))
	must(t, err)
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 2<<20 {
		t.Errorf("the file with holes takes %d bytes of the disk", used)
	}
	one, err := os.Stat(filepath.Join(dst, "tree", "hard"))
	must(t, err)
	two, err := os.Stat(filepath.Join(dst, "tree", "a", "plain"))
	must(t, err)
	if !os.SameFile(one, two) {
		t.Error("the hard link is a copy")
	}
}

// Others must be able to read what we write.
func TestHolesAreThoseOfGNUTar(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), "", 0o644)
	must(t, os.Truncate(filepath.Join(dir, "f"), 8<<30+5)) // a size that no octal field holds
	when := time.Date(2021, 3, 4, 5, 6, 7, 891000000, time.UTC)
	must(t, os.Chtimes(filepath.Join(dir, "f"), when, when))
	var archive bytes.Buffer
	must(t, Pack(t.Context(), &archive, openRoot(t, dir), "f", "some/name", PackOptions{}))
	tr := tar.NewReader(&archive)
	hdr, err := tr.Next()
	must(t, err)
	if hdr.Name != "some/name" || hdr.Size != 8<<30+5 || hdr.Mode != 0o644 || hdr.ModTime.Nanosecond() != 891000000 {
		t.Errorf("header %+v", hdr)
	}
	if _, err := tr.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after it: %v", err)
	}
}

// entries packs headers; a regular file holds its own name.
func entries(t testing.TB, hdrs ...tar.Header) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hdrs {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, h.Name)
			must(t, err)
		}
	}
	must(t, w.Close())
	return &b
}

func reg(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
func dir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}
func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
}

func TestHostileArchiveCannotLeadOut(t *testing.T) {
	for name, tc := range map[string]struct {
		hdrs  []tar.Header
		safe  bool     // with SafeLinks
		fails bool     // the archive is refused
		there []string // what is below the target in the end
	}{
		"dot dot":                  {hdrs: []tar.Header{reg("../evil")}, fails: true},
		"dot dot within":           {hdrs: []tar.Header{reg("a/../../evil")}, fails: true},
		"absolute":                 {hdrs: []tar.Header{reg("/evil")}, there: []string{"evil"}},
		"over an absolute link":    {hdrs: []tar.Header{symlink("l", "OUT"), reg("l/evil")}, fails: true},
		"over a relative link":     {hdrs: []tar.Header{symlink("l", ".."), reg("l/evil")}, fails: true},
		"over a link in two":       {hdrs: []tar.Header{symlink("a", "."), symlink("l", "a/.."), reg("l/evil")}, fails: true},
		"hard link out":            {hdrs: []tar.Header{link("h", "../victim")}, fails: true},
		"hard link to absolute":    {hdrs: []tar.Header{link("h", "OUT/victim")}, fails: true},
		"hard link over a link":    {hdrs: []tar.Header{symlink("l", ".."), link("h", "l/victim")}, fails: true},
		"file in a link's place":   {hdrs: []tar.Header{symlink("victim", "../victim"), reg("victim")}, there: []string{"victim"}},
		"directory for a link":     {hdrs: []tar.Header{symlink("l", ".."), dir("l")}, fails: true},
		"file for a directory":     {hdrs: []tar.Header{dir("d"), reg("d")}, fails: true},
		"no name":                  {hdrs: []tar.Header{reg(".")}, fails: true},
		"long name":                {hdrs: []tar.Header{reg(strings.Repeat("x/", 3000) + "x")}, fails: true},
		"long part":                {hdrs: []tar.Header{reg(strings.Repeat("x", 256))}, fails: true},
		"device":                   {hdrs: []tar.Header{{Name: "d", Typeflag: tar.TypeBlock}}},
		"pipe":                     {hdrs: []tar.Header{{Name: "p", Typeflag: tar.TypeFifo}}},
		"safe: absolute link":      {safe: true, hdrs: []tar.Header{symlink("l", "/etc")}},
		"safe: link above":         {safe: true, hdrs: []tar.Header{dir("d"), symlink("d/l", "../../x")}, there: []string{"d"}},
		"safe: link inside":        {safe: true, hdrs: []tar.Header{dir("d"), symlink("d/l", "../x")}, there: []string{"d", "d/l"}},
		"safe: behind another":     {safe: true, hdrs: []tar.Header{symlink("s", "."), symlink("l", "s/../x")}, there: []string{"s"}},
		"safe: over a link inside": {safe: true, hdrs: []tar.Header{dir("d"), symlink("s", "d"), reg("s/f")}, fails: true, there: []string{"d", "s"}},
		"safe: hard link to link":  {safe: true, hdrs: []tar.Header{symlink("s", "x"), link("h", "s")}, fails: true, there: []string{"s"}},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			target := filepath.Join(base, "target")
			must(t, os.Mkdir(target, 0o755))
			writeFile(t, filepath.Join(base, "victim"), "victim", 0o644)
			for i := range tc.hdrs {
				tc.hdrs[i].Linkname = strings.Replace(tc.hdrs[i].Linkname, "OUT", base, 1)
			}
			a, err := Open(entries(t, tc.hdrs...))
			if err == nil {
				err = a.Unpack(t.Context(), openRoot(t, target), UnpackOptions{SafeLinks: tc.safe})
			}
			if (err != nil) != tc.fails {
				t.Errorf("error %v, want one: %v", err, tc.fails)
			}
			for name := range listing(t, base) {
				if name != "." && name != "victim" && name != "target" && !strings.HasPrefix(name, "target/") {
					t.Errorf("%s is there", name)
				}
			}
			if data, err := os.ReadFile(filepath.Join(base, "victim")); err != nil || string(data) != "victim" {
				t.Errorf("the victim holds %q, %v", data, err)
			}
			got := listing(t, target)
			for name := range got {
				if strings.Contains(name, tempPrefix) {
					t.Errorf("left behind: %s", name)
				}
			}
			if !tc.fails && len(got)-1 != len(tc.there) {
				t.Errorf("in the target: %v, want %v", got, tc.there)
			}
			for _, name := range tc.there {
				if _, ok := got[name]; !ok {
					t.Errorf("%s is not there", name)
				}
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for _, tc := range []struct {
		d      Destination
		dir    bool
		inside bool
		base   string // "" and not inside: refused
	}{
		{Destination{"/a/b", true, true}, false, true, ""},
		{Destination{"/a/b", true, true}, true, true, ""},
		{Destination{"/a/b/", true, true}, false, true, ""},
		{Destination{"/a/b", true, false}, false, false, "b"},
		{Destination{"/a/b", true, false}, true, false, ""},
		{Destination{"/a/b/", true, false}, false, false, ""},
		{Destination{"/a/b", false, false}, false, false, "b"},
		{Destination{"/a/b", false, false}, true, false, "b"},
		{Destination{"/a/b/", false, false}, true, false, "b"},
		{Destination{"/a/b/", false, false}, false, false, ""},
		{Destination{"/a/b/.", false, false}, false, false, ""},
		{Destination{"/", true, true}, true, true, ""},
		{Destination{"..", false, false}, true, false, ""},
	} {
		got, err := Place(tc.d, tc.dir)
		want := Placement{Inside: tc.inside, Base: tc.base}
		if refused := tc.base == "" && !tc.inside; refused != errors.Is(err, ErrPlace) || !refused && got != want {
			t.Errorf("%+v, directory %v: %+v, %v; want %+v", tc.d, tc.dir, got, err, want)
		}
	}
}

func TestDirectoriesThatAreThereStayAsTheyAre(t *testing.T) {
	target := t.TempDir()
	must(t, os.Mkdir(filepath.Join(target, "d"), 0o711))
	must(t, os.Chmod(target, 0o751))
	root := openRoot(t, target)
	a, err := Open(entries(t, dir("./"), dir("d"), reg("d/f")))
	must(t, err)
	must(t, a.Unpack(t.Context(), root, UnpackOptions{}))
	for name, want := range map[string]fs.FileMode{".": 0o751, "d": 0o711} {
		if info, err := root.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %s", name, info.Mode(), err, want)
		}
	}
}

func TestUnpackThatIsCutShortLeavesNoPart(t *testing.T) {
	var b bytes.Buffer
	src := t.TempDir()
	writeFile(t, filepath.Join(src, "f"), strings.Repeat("new", 1<<20), 0o644)
	must(t, Pack(t.Context(), &b, openRoot(t, src), "f", "f", PackOptions{}))
	whole := b.Bytes()
	for _, cut := range []int{1600, 1 << 20, len(whole) - 2000} {
		target := t.TempDir()
		writeFile(t, filepath.Join(target, "f"), "old", 0o644)
		a, err := Open(bytes.NewReader(whole[:cut]))
		if err == nil {
			err = a.Unpack(t.Context(), openRoot(t, target), UnpackOptions{})
		}
		if !errors.Is(err, ErrArchive) {
			t.Errorf("cut at %d: %v, want a bad archive", cut, err)
		}
		if got := listing(t, target); len(got) != 2 || !strings.Contains(got["f"], " 3 ") {
			t.Errorf("cut at %d: %v", cut, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, err := Open(bytes.NewReader(whole))
	must(t, err)
	if err := a.Unpack(ctx, openRoot(t, t.TempDir()), UnpackOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDirectWritesAreTheSame(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	noise := make([]byte, 3*bufferBytes)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	for _, size := range []int{0, 1, directBytes - 1, directBytes, directBytes + 1, directBytes + bufferBytes + 4096} {
		data := bytes.Repeat(noise, size/len(noise)+1)[:size]
		if size > 2*bufferBytes {
			clear(data[bufferBytes/2 : bufferBytes/2+3*holeBytes])
		}
		writeFile(t, filepath.Join(src, fmt.Sprint(size)), string(data), 0o644)
	}
	var b bytes.Buffer
	must(t, Pack(t.Context(), &b, openRoot(t, src), ".", ".", PackOptions{Direct: true}))
	a, err := Open(iotest.HalfReader(&b))
	must(t, err)
	must(t, a.Unpack(t.Context(), openRoot(t, dst), UnpackOptions{Direct: true}))
	want, got := listing(t, src), listing(t, dst)
	delete(want, ".")
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %q, want %q", name, got[name], text)
		}
	}
}

func TestSeveralRootsAreNoTree(t *testing.T) {
	a, err := Open(entries(t, reg("one"), reg("two")))
	must(t, err)
	if err := a.Unpack(t.Context(), openRoot(t, t.TempDir()), UnpackOptions{As: "x"}); !errors.Is(err, ErrArchive) {
		t.Errorf("%v, want a bad archive", err)
	}
}

func TestSocketsAreLeftOut(t *testing.T) {
	dir, err := os.MkdirTemp("", "vzt") //nolint:usetesting // short, for a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	defer syscall.Close(fd)
	must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(dir, "s")}))
	must(t, syscall.Mkfifo(filepath.Join(dir, "p"), 0o600)) // nobody writes to it
	var warned []string
	var b bytes.Buffer
	must(t, Pack(t.Context(), &b, openRoot(t, dir), ".", ".", PackOptions{Warn: func(s string) { warned = append(warned, s) }}))
	if len(warned) != 1 || !strings.HasPrefix(warned[0], "./s ") {
		t.Errorf("warnings %q", warned)
	}
}

func FuzzUnpack(f *testing.F) {
	for _, hdrs := range [][]tar.Header{
		{reg("f")}, {dir("d"), reg("d/f")}, {symlink("l", "../x"), reg("l")}, {reg("a"), link("b", "a")}, {symlink("l", "/"), reg("l/f")},
	} {
		data, err := io.ReadAll(entries(f, hdrs...))
		must(f, err)
		f.Add(data, true)
		f.Add(data, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, safe bool) {
		base := t.TempDir()
		target := filepath.Join(base, "a", "target")
		must(t, os.MkdirAll(target, 0o755))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if a, err := Open(bytes.NewReader(data)); err == nil {
			_ = a.Unpack(ctx, openRoot(t, target), UnpackOptions{SafeLinks: safe})
		}
		for _, dir := range []string{base, filepath.Join(base, "a")} {
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("in %s: %v, %v", dir, left, err)
			}
		}
		_ = filepath.WalkDir(target, func(path string, _ fs.DirEntry, err error) error {
			if strings.HasPrefix(filepath.Base(path), tempPrefix) && !bytes.Contains(data, []byte(tempPrefix)) {
				t.Errorf("left behind: %s", path)
			}
			return nil //nolint:nilerr // a directory that cannot be read is fine
		})
	})
}
