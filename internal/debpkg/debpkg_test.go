package debpkg

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// pkg is a package with one member after another, and a data archive of the
// given names, each file holding its name.
func pkg(t testing.TB, suffix string, pack func([]byte) []byte, names ...string) []byte {
	t.Helper()
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(name))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(arMagic)
	for _, m := range []struct {
		name    string
		content []byte
	}{{"debian-binary", []byte("2.0\n")}, {"odd", []byte("x")}, {"data.tar" + suffix, pack(data.Bytes())}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.content))
		b.Write(m.content)
		if len(m.content)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func plain(b []byte) []byte { return b }

func zst(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

func walk(b []byte) (names []string, err error) {
	err = Walk(bytes.NewReader(b), func(hdr *tar.Header, content io.Reader) error {
		got, err := io.ReadAll(io.LimitReader(content, 1<<20))
		names = append(names, hdr.Name+"="+string(got))
		return err
	})
	return names, err
}

func TestWalkYieldsCleanNamesAndContents(t *testing.T) {
	for suffix, pack := range map[string]func([]byte) []byte{"": plain, ".zst": zst} {
		names, err := walk(pkg(t, suffix, pack, "./boot/x", "/usr//y"))
		if err != nil || strings.Join(names, " ") != "boot/x=./boot/x usr/y=/usr//y" {
			t.Errorf("%q: got %v, %v", suffix, names, err)
		}
	}
}

func TestBadPackageIsInvalid(t *testing.T) {
	good := pkg(t, "", plain, "./a")
	for name, b := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "truncated header": good[:30], "truncated data": good[:len(good)-1500],
		"name that leaves": pkg(t, "", plain, "./a/../../b"), "unknown compression": pkg(t, ".lzo", plain, "./a"),
		"wrong compression": pkg(t, ".xz", plain, "./a"), "no data": pkg(t, "", plain)[:8+60+4],
	} {
		if _, err := walk(b); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(pkg(f, "", plain, "./boot/x"))
	f.Add(pkg(f, ".zst", zst, "./boot/x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("data.tar.xz")) {
			return // the library may take as much memory as the file says
		}
		names, err := walk(b)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("not ErrInvalid: %v", err)
		}
		for _, n := range names {
			name, _, _ := strings.Cut(n, "=")
			if strings.HasPrefix(name, "/") || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../") {
				t.Fatalf("name %q", name)
			}
		}
	})
}
