package crilog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// maxChain bounds how many files of a log are looked for, maxTries how often.
const (
	maxChain = 1000
	maxTries = 10
)

// openChain opens the files of the log at path, oldest first; none is no error.
func openChain(path string) ([]*os.File, error) {
	for try := 1; ; try++ {
		files, stable, err := tryChain(path)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		if stable || try == maxTries {
			return files, nil
		}
		closeAll(files)
	}
}

// tryChain opens the files and reports whether the log was not rotated meanwhile.
func tryChain(path string) (files []*os.File, stable bool, err error) {
	var newest fs.FileInfo
	for n := range maxChain {
		f, err := openToRead(backup(path, n))
		if errors.Is(err, fs.ErrNotExist) {
			if n == 0 {
				continue
			}
			break
		}
		if err != nil {
			return files, false, err
		}
		files = append([]*os.File{f}, files...)
		fi, err := f.Stat()
		if err != nil {
			return files, false, err
		}
		if n == 0 {
			newest = fi
		}
	}
	now, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return files, newest == nil, nil
	case err != nil:
		return files, false, err
	}
	return files, newest != nil && os.SameFile(newest, now), nil
}

// openToRead opens a file of a log. It does not wait for the other end of what is
// no regular file, and refuses it.
func openToRead(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the caller names its log
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// tail finds the last n entries in the files, of which the last is the newest:
// they begin at off in files[first].
func tail(files []*os.File, n int64) (first int, off int64, err error) {
	for i, f := range slices.Backward(files) {
		fi, err := f.Stat()
		if err != nil {
			return 0, 0, err
		}
		off, found, err := tailOf(f, fi.Size(), n)
		if err != nil {
			return 0, 0, err
		}
		if n -= found; n == 0 || i == 0 {
			return i, off, nil
		}
	}
	return 0, 0, nil
}

// tailOf finds the last n whole entries of a file of the given size, reading it
// backwards: where they begin, and how many there are.
func tailOf(f io.ReaderAt, size, n int64) (off, found int64, err error) {
	buf := make([]byte, 64<<10)
	newlines := int64(0)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		block := buf[:end-start]
		if _, err := f.ReadAt(block, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		for i, c := range slices.Backward(block) {
			if c != '\n' {
				continue
			}
			if newlines == n {
				return start + int64(i) + 1, n, nil
			}
			newlines++
		}
		end = start
	}
	return 0, newlines, nil
}
