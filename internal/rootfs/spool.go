package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// spool is a file that holds the contents of all files, one after another.
type spool struct {
	w     *sparseWriter
	limit int64
	buf   []byte
	// err is a failure of the disk, as opposed to one of what is read.
	err error
}

func newSpool(f *os.File, limit int64, space func(written int64) error) *spool {
	return &spool{w: &sparseWriter{f: f, space: space}, limit: limit, buf: make([]byte, 256<<10)}
}

// add appends size bytes of r and returns where they are.
func (s *spool) add(r io.Reader, size int64) (offset int64, err error) {
	offset = s.w.pos
	if size > s.limit-offset {
		return 0, fmt.Errorf("the image unpacks to more than %d MiB", s.limit>>20)
	}
	for left := size; left > 0; {
		n, err := io.ReadFull(r, s.buf[:min(left, int64(len(s.buf)))])
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		if _, s.err = s.w.Write(s.buf[:n]); s.err != nil {
			return 0, s.err
		}
		left -= int64(n)
	}
	return offset, nil
}

// sparseWriter writes a file and leaves holes for blocks of zeros. It seeks, as
// its users rewrite what they began with.
type sparseWriter struct {
	f *os.File
	// space, if not nil, is asked before more is written than it was asked for.
	space func(written int64) error

	pos, end int64
	written  int64
	// high is the end of what was ever written: only beyond it a hole is sure to
	// read as zeros.
	high int64
	err  error
}

const (
	blockSize  = 4096
	spaceEvery = 16 << 20
)

func (w *sparseWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 && w.err == nil {
		// Runs of blocks of one kind, aligned in the file.
		n := min(len(p), blockSize-int(w.pos%blockSize))
		hole := isZero(p[:n])
		for n < len(p) {
			next := min(len(p)-n, blockSize)
			if isZero(p[n:n+next]) != hole {
				break
			}
			n += next
		}
		if hole && w.pos >= w.high {
			w.advance(n)
		} else if w.write(p[:n]); w.err != nil {
			break
		}
		done += n
		p = p[n:]
	}
	return done, w.err
}

func (w *sparseWriter) write(p []byte) {
	if w.space != nil && (w.written+int64(len(p)))/spaceEvery != w.written/spaceEvery {
		if w.err = w.space(w.written); w.err != nil {
			return
		}
	}
	var n int
	n, w.err = w.f.WriteAt(p, w.pos)
	w.written += int64(n)
	w.high = max(w.high, w.pos+int64(n))
	w.advance(n)
}

func (w *sparseWriter) advance(n int) {
	w.pos += int64(n)
	w.end = max(w.end, w.pos)
}

func (w *sparseWriter) Read(p []byte) (int, error) {
	n, err := w.f.ReadAt(p, w.pos)
	w.pos += int64(n)
	return n, err
}

func (w *sparseWriter) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += w.pos
	case io.SeekEnd:
		offset += w.end
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	w.pos = offset
	return offset, nil
}

// finish gives the file its full length.
func (w *sparseWriter) finish() error {
	if w.err != nil {
		return w.err
	}
	return w.f.Truncate(w.end)
}

// zeros is what isZero compares with.
var zeros [blockSize]byte

func isZero(p []byte) bool {
	return string(p) == string(zeros[:len(p)])
}
