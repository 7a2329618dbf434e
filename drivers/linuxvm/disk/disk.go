// Package disk makes the private writable disk of a sandbox: a sparse file with
// an ext4 file system, without root and without mke2fs.
//
// The file system comes as a template of 64 MiB; the guest grows it to the size
// of the device when it mounts it. The template was made by
//
//	E2FSPROGS_FAKE_TIME=1 mke2fs -q -F -t ext4 -b 4096 -I 256 -i 16384 -m 0 \
//	  -O meta_bg,^resize_inode -J size=16 -L sandbox \
//	  -U 6b1f0e2c-0000-4000-8000-76007a726563 \
//	  -E hash_seed=6b1f0e2c-0000-4000-8000-76007a726563,root_owner=0:0 template.ext4 64M
//	gzip -9n template.ext4
//
// meta_bg lets it grow without bound and without the reserved blocks of
// resize_inode; the journal keeps it whole when the machine is killed.
package disk

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

//go:embed template.ext4.gz
var template []byte

// MinBytes is the size of the smallest disk: that of the template.
const MinBytes = 64 << 20

// blockBytes is the unit in which holes are left.
const blockBytes = 64 << 10

// Ensure makes the disk at path, of the given apparent size in bytes, unless it
// is there already: then it is kept, with what is on it, and made larger if it
// is smaller. A crash leaves either no disk or a whole one.
func Ensure(path string, size int64) error {
	if size < MinBytes {
		return fmt.Errorf("disk %s: %w: %d bytes are too small, the least is %d", path, drivers.ErrInvalidArgument, size, MinBytes)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = create(path, size)
	case err != nil:
	case !info.Mode().IsRegular():
		return fmt.Errorf("disk %s: %w: not a regular file", path, drivers.ErrInvalidArgument)
	case info.Size() < size:
		err = os.Truncate(path, size)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("disk %s: %w: %w", path, drivers.ErrExhausted, err)
	}
	if err != nil {
		return fmt.Errorf("disk %s: %w", path, err)
	}
	return nil
}

func create(path string, size int64) (err error) {
	// One name: the next try replaces what a crash has left. A sandbox has one
	// runtime, so nobody else makes its disk.
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, state.FileMode)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	zr, err := gzip.NewReader(bytes.NewReader(template))
	if err != nil {
		return err
	}
	if err := copySparse(f, zr); err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// copySparse copies src to the start of f and leaves holes for zeroes.
func copySparse(f *os.File, src io.Reader) error {
	buf, zero := make([]byte, blockBytes), make([]byte, blockBytes)
	for off := int64(0); ; {
		n, err := io.ReadFull(src, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := f.WriteAt(buf[:n], off); err != nil {
				return err
			}
		}
		off += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
