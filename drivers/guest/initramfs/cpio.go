package initramfs

import (
	"fmt"
	"io"
)

// archive writes the "newc" form of cpio, the one that the kernel unpacks: see
// Documentation/driver-api/early-userspace/buffer-format.rst there. It is the
// same, byte for byte, for the same content. The first error sticks.
type archive struct {
	w   io.Writer
	ino int
	pos int
	err error
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
)

func (a *archive) dir(name string) { a.entry(name, modeDir|0o755, 0, 0, nil) }

func (a *archive) file(name string, perm int, data []byte) {
	a.entry(name, modeFile|perm, 0, 0, data)
}

func (a *archive) charDevice(name string, major, minor int) {
	a.entry(name, modeChar|0o600, major, minor, nil)
}

func (a *archive) close() error {
	a.ino = -1
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode, major, minor int, data []byte) {
	a.ino++
	const uid, gid, nlink, mtime, devMajor, devMinor, check = 0, 0, 1, 0, 0, 0, 0
	header := []byte("070701")
	for _, field := range []int{a.ino, mode, uid, gid, nlink, mtime, len(data), devMajor, devMinor, major, minor, len(name) + 1, check} {
		header = fmt.Appendf(header, "%08X", field)
	}
	a.write(append(header, name+"\x00"...))
	a.pad()
	a.write(data)
	a.pad()
}

func (a *archive) write(p []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(p)
		a.pos += len(p)
	}
}

func (a *archive) pad() { a.write(make([]byte, -a.pos&3)) }
