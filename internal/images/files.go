package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// files is a directory or a tar archive to read from.
type files interface {
	// open opens a file by its path inside and tells its size. A missing one is
	// fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	io.Closer
}

// readSmall reads a whole file.
func readSmall(f files, name string, limit int64) ([]byte, error) {
	r, size, err := f.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it holds no %s", ErrInvalid, name)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > limit {
		return nil, fmt.Errorf("%w: its %s has %d bytes, the limit is %d", ErrInvalid, name, size, limit)
	}
	return io.ReadAll(io.LimitReader(r, limit))
}

// dirFiles is a directory. Links cannot lead out of it.
type dirFiles struct{ root *os.Root }

func openDir(path string) (dirFiles, error) {
	root, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return dirFiles{}, fmt.Errorf("%w: there is no directory %s", ErrNotFound, path)
	}
	return dirFiles{root}, err
}

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	f, err := d.root.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, 0, err
	}
	size, err := regularSize(f, name)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// openFlags keep a named pipe from making the opener wait for a writer.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

func regularSize(f *os.File, name string) (int64, error) {
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", ErrInvalid, name)
	}
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (d dirFiles) Close() error { return d.root.Close() }

// tarFiles is a tar archive, read in place.
type tarFiles struct {
	f       *os.File
	entries map[string]tarEntry
}

type tarEntry struct {
	offset, size int64
	link         string // of a symbolic or hard link, its target's name
}

// maxArchiveEntries bounds the entries of an archive: one per blob, and few more.
const maxArchiveEntries = 20_000

// openTar indexes an archive. Contents are skipped, not read, so that it costs
// little however large the archive is.
func openTar(file string) (*tarFiles, error) {
	f, err := os.OpenFile(file, openFlags, 0) //nolint:gosec // named by the user's manifest
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no file %s", ErrNotFound, file)
	}
	if err != nil {
		return nil, err
	}
	if _, err := regularSize(f, file); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t := &tarFiles{f: f, entries: make(map[string]tarEntry)}
	if err := t.index(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

func (t *tarFiles) index() error {
	magic := make([]byte, 4)
	if _, err := t.f.ReadAt(magic, 0); err == nil && (bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) || bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd})) {
		return fmt.Errorf("%w: the archive is compressed: store it without compression, for example with gunzip", ErrInvalid)
	}
	for r := tar.NewReader(t.f); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: the archive is truncated", ErrInvalid)
		}
		if err != nil {
			return fmt.Errorf("%w: it is no tar archive: %w", ErrInvalid, err)
		}
		if len(t.entries) == maxArchiveEntries {
			return fmt.Errorf("%w: the archive has more than %d entries", ErrInvalid, maxArchiveEntries)
		}
		name := path.Clean(hdr.Name)
		switch hdr.Typeflag {
		case tar.TypeReg:
			// The reader reads headers only, so the file stands where the content is.
			offset, err := t.f.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			t.entries[name] = tarEntry{offset: offset, size: hdr.Size}
		case tar.TypeSymlink:
			t.entries[name] = tarEntry{link: path.Join(path.Dir(name), hdr.Linkname)}
		case tar.TypeLink:
			t.entries[name] = tarEntry{link: path.Clean(hdr.Linkname)}
		}
	}
}

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	name = path.Clean(name)
	for range 8 {
		e, ok := t.entries[name]
		if !ok {
			break
		}
		if e.link == "" {
			return io.NopCloser(io.NewSectionReader(t.f, e.offset, e.size)), e.size, nil
		}
		name = strings.TrimPrefix(e.link, "./")
	}
	return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (t *tarFiles) Close() error { return t.f.Close() }
