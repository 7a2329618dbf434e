package sparsefile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// share makes out share the blocks of in, and reports whether it could.
func share(out, in *os.File) bool {
	return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil
}

// nextData returns where the next data at or after an offset begins and ends.
func nextData(f *os.File, off, size int64) (data, end int64, err error) {
	data, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL):
		return off, size, nil // the file system does not know
	case err != nil:
		return 0, 0, err
	}
	end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, err
	}
	return min(data, size), min(end, size), nil
}
