// Package debpkg reads Debian packages: the files that a .deb would install, as
// a stream, without dpkg, without root and without installing anything.
//
// A package may come from anywhere: sizes are bounded, and what is not
// understood is an error, never a guess.
package debpkg

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// ErrInvalid means that a file is no Debian package, or a damaged one.
var ErrInvalid = errors.New("not a valid Debian package")

// Bounds of what one package may hold, well above any real kernel package.
const (
	maxBytes   = 4 << 30
	maxEntries = 200_000
	maxMembers = 16
	maxWindow  = 128 << 20
)

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
)

// WalkFile calls fn for each entry of the package at file, see Walk.
func WalkFile(file string, fn func(hdr *tar.Header, content io.Reader) error) error {
	f, err := os.Open(file) //nolint:gosec // the user's own choice
	if err != nil {
		return err
	}
	defer f.Close()
	if err := Walk(f, fn); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Walk reads a package and calls fn for each entry of its data archive, in
// order. The header's Name is clean, relative and without "..": an entry whose
// name leaves the archive makes the package invalid. An error of fn ends the
// walk and is returned as it is.
func Walk(r io.Reader, fn func(hdr *tar.Header, content io.Reader) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	name, data, err := findData(br)
	if err != nil {
		return err
	}
	plain, err := decompress(name, data)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	defer plain.Close()

	tr := tar.NewReader(io.LimitReader(plain, maxBytes))
	for n := 0; ; n++ {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return drain(name, plain, data)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
		}
		if n == maxEntries {
			return fmt.Errorf("%w: %s: more than %d entries", ErrInvalid, name, maxEntries)
		}
		clean, err := cleanName(hdr.Name)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
		}
		hdr.Name = clean
		content := &contentReader{r: tr, name: clean}
		if err := fn(hdr, content); err != nil {
			return err
		}
	}
}

// drain reads what follows the last entry: checksums come at the end.
func drain(name string, plain io.Reader, data *io.LimitedReader) error {
	if _, err := io.Copy(io.Discard, io.LimitReader(plain, maxBytes)); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	if _, err := io.Copy(io.Discard, data); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	if data.N > 0 {
		return fmt.Errorf("%w: %s is truncated", ErrInvalid, name)
	}
	return nil
}

// findData skips to the data archive of the ar file.
func findData(br *bufio.Reader) (name string, data *io.LimitedReader, err error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(br, magic); err != nil || string(magic) != arMagic {
		return "", nil, fmt.Errorf("%w: it does not begin as an ar archive", ErrInvalid)
	}
	for range maxMembers {
		var h [arHeaderSize]byte
		if _, err := io.ReadFull(br, h[:]); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return "", nil, fmt.Errorf("%w: truncated member header", ErrInvalid)
		}
		if h[58] != '`' || h[59] != '\n' {
			return "", nil, fmt.Errorf("%w: damaged member header", ErrInvalid)
		}
		name := strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
		size, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
		if err != nil || size < 0 {
			return "", nil, fmt.Errorf("%w: member %q has no valid size", ErrInvalid, name)
		}
		if strings.HasPrefix(name, "data.tar") {
			return name, &io.LimitedReader{R: br, N: size}, nil
		}
		if _, err := io.CopyN(io.Discard, br, size+size%2); err != nil {
			return "", nil, fmt.Errorf("%w: member %q is truncated", ErrInvalid, name)
		}
	}
	return "", nil, fmt.Errorf("%w: it has no data archive", ErrInvalid)
}

func decompress(name string, r io.Reader) (io.ReadCloser, error) {
	switch strings.TrimPrefix(name, "data.tar") {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		x, err := xz.NewReader(bufio.NewReader(r))
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	default:
		return nil, errors.New("unknown compression")
	}
}

func cleanName(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("entry %q leaves the archive", name)
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// contentReader marks errors of the archive, so that the walker's caller can
// tell them from its own.
type contentReader struct {
	r    io.Reader
	name string
}

func (c *contentReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %s: %w", ErrInvalid, c.name, err)
	}
	return n, err
}
