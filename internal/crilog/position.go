package crilog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"syscall"
)

// Position says how much of a process's output is in its log. It lies in a file
// beside the log, so that a writer that is killed has a successor that goes on at
// the very byte: what the log has beyond the position is taken back and written
// again.
type Position struct {
	// Run tells the lives of the process apart.
	Run uint64
	// Stdout and Stderr are the bytes of the streams since the start of the run.
	Stdout, Stderr int64
}

// mark is a Position with the state of the log that it goes with.
type mark struct {
	Position
	inode uint64
	size  int64
}

const (
	markMagic = "vzrlogp1"
	markLen   = len(markMagic) + 5*8 + crc32.Size
)

func (m mark) bytes() []byte {
	b := append(make([]byte, 0, markLen), markMagic...)
	for _, n := range []uint64{m.Run, uint64(m.Stdout), uint64(m.Stderr), m.inode, uint64(m.size)} { //nolint:gosec // back and forth
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// parseMark reads a mark; what is none has no meaning.
func parseMark(b []byte) (m mark, ok bool) {
	if len(b) != markLen || string(b[:len(markMagic)]) != markMagic ||
		binary.BigEndian.Uint32(b[markLen-crc32.Size:]) != crc32.ChecksumIEEE(b[:markLen-crc32.Size]) {
		return mark{}, false
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(b[len(markMagic)+8*i:]) }
	m = mark{Position{n(0), int64(n(1)), int64(n(2))}, n(3), int64(n(4))} //nolint:gosec // checked below
	return m, m.Stdout >= 0 && m.Stderr >= 0 && m.size >= 0
}

// marks is the file that holds the mark.
type marks struct {
	f *os.File
	mark
}

// openMarks opens the file at path and brings the log in line with the mark that
// it holds.
func openMarks(path, log string) (*marks, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode) //nolint:gosec // the caller names it
	if err != nil {
		return nil, fmt.Errorf("open the position of log %s: %w", log, err)
	}
	m := &marks{f: f}
	buf := make([]byte, markLen)
	if n, _ := f.ReadAt(buf, 0); n == markLen {
		m.mark, _ = parseMark(buf)
	}
	if m.inode != 0 {
		if err := m.takeBack(log); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("go on with log %s: %w", log, err)
		}
	}
	return m, nil
}

// takeBack cuts off what was written to the log after the mark was. The log may
// have been rotated in between, once.
func (m *marks) takeBack(log string) error {
	inode, size, err := fileOf(log)
	if err != nil {
		return err
	}
	if inode == m.inode {
		return cut(log, size, m.size)
	}
	before, beforeSize, err := fileOf(backup(log, 1))
	if err != nil || before != m.inode {
		return err // It is another log: the mark says nothing of it.
	}
	return errors.Join(cut(log, size, 0), cut(backup(log, 1), beforeSize, m.size))
}

func cut(path string, size, want int64) error {
	if size <= want {
		return nil
	}
	return os.Truncate(path, want)
}

// fileOf returns a file's identity and size; zeros if there is none.
func fileOf(path string) (inode uint64, size int64, err error) {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, errors.New("the file system tells no inodes")
	}
	return st.Ino, fi.Size(), nil
}

// save replaces the mark. A disk that does not take it costs exactness after a
// crash, nothing else.
func (m *marks) save() {
	_, _ = m.f.WriteAt(m.bytes(), 0)
}
