package treetar

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openDirect opens a file past the page cache.
const openDirect = syscall.O_DIRECT

// alignedBuffer returns a buffer of bufferBytes that can be written past the
// page cache.
func alignedBuffer() []byte {
	b := make([]byte, bufferBytes+directAlign)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (directAlign - 1))
	return b[skip : skip+bufferBytes : skip+bufferBytes]
}

// buffered makes a file one like any other again: its last part has no whole blocks.
func buffered(f *os.File) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT)
	return err
}
