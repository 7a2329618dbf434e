package kernels

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzKernelFile feeds damaged kernels to all that reads them: an error or a
// kernel, never a panic and never more than was allowed.
func FuzzKernelFile(f *testing.F) {
	var t testing.T
	for _, c := range []compress{gzipped, lz4ed, zstded} {
		f.Add(bzImage("6.6.6-test", c(&t, testELF("Xen", 18, 1024))))
	}
	f.Add(testELF("Xen", 18, 1024))
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		hasPVHEntry(bytes.NewReader(b))
		img, err := parseImage(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		if img.version != "" && !versionRE.MatchString(img.version) {
			t.Fatalf("version %q", img.version)
		}
		if bytes.HasPrefix(img.payload, magicXZ) {
			return // the library may take as much memory as the file says
		}
		w := &countWriter{}
		err = unpack(w, img.payload, limit)
		if w.n > limit+1 {
			t.Fatalf("%d bytes unpacked, the limit is %d", w.n, limit)
		}
		if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, errUnsupported) {
			t.Fatalf("unexpected kind of error: %v", err)
		}
	})
}

type countWriter struct{ n int64 }

func (c *countWriter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return io.Discard.Write(p)
}
