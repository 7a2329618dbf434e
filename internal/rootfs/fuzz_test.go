package rootfs

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLayer applies an arbitrary layer over a small one. Whatever it holds, the
// result is an error or a tree in which every name stays inside, parents come
// first and hard links point at files already there.
func FuzzLayer(f *testing.F) {
	f.Add(archive(f, "L2", file("d/.wh.x"), file("d/new"), hardlink("h", "d/x"), symlink("s", "/d"), file("s/y")))
	f.Add(archive(f, "L2", dir("f"), file("f/z"), file("d/.wh..wh..opq"), file("../x")))
	f.Add(archive(f, "L2", &tar.Header{Typeflag: tar.TypeReg, Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{xattrPrefix + "user.a": "b"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		contents, err := os.Create(filepath.Join(t.TempDir(), "spool"))
		if err != nil {
			t.Fatal(err)
		}
		defer contents.Close()
		const limit = 1 << 20
		tr, sp := newTree(), newSpool(contents, limit, nil)
		base := layer(t, "L1", dir("d"), file("d/x"), file("f"), symlink("l", "d"), symlink("loop", "loop"), symlink("up", "../.."))
		if err := readLayer(t.Context(), tr, base, sp, limit, nil); err != nil {
			t.Fatal(err)
		}
		if err := readLayer(t.Context(), tr, layerOf("L2", b, b), sp, limit, nil); err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		if err := sp.w.finish(); err != nil {
			t.Fatal(err)
		}
		checkTar(t, tr, contents)
	})
}

func checkTar(t *testing.T, tr *tree, contents io.ReaderAt) {
	t.Helper()
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(tr.writeTar(t.Context(), pw, contents)) }()
	defer pr.Close()
	kinds := make(map[string]byte)
	for r := tar.NewReader(pr); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			if errors.Is(err, ErrInvalid) {
				return
			}
			t.Fatal(err)
		}
		name := strings.TrimSuffix(hdr.Name, "/")
		for _, part := range strings.Split(name, "/")[1:] {
			if part == ".." || part == "." || part == "" || strings.HasPrefix(part, whiteoutPrefix) {
				t.Fatalf("name %q", hdr.Name)
			}
		}
		if i := strings.LastIndex(name, "/"); i >= 0 && kinds[name[:i]] != tar.TypeDir {
			t.Fatalf("%q comes before its parent", name)
		}
		if kinds[name] != 0 {
			t.Fatalf("%q comes twice", name)
		}
		kinds[name] = hdr.Typeflag
		if hdr.Typeflag == tar.TypeLink && (kinds[hdr.Linkname] == 0 || kinds[hdr.Linkname] == tar.TypeDir) {
			t.Fatalf("%q links to %q, which is not there", name, hdr.Linkname)
		}
	}
}
