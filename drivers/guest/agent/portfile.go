//go:build linux

package agent

import (
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// portRead is the most that the driver gives in a call.
const portRead = 4 << 10

// port is an open virtio-serial port, or any other file that never blocks.
//
// The driver takes 32 KiB in a call and gives portRead, so a copy is thousands of
// calls. Each lasts long enough, in an emulated guest, for Go to hand its one
// processor to another thread and to fetch it back: hence calls that Go does not
// know of, and as many in a row as there is data.
type port struct {
	file *os.File
	raw  syscall.RawConn
	// left is set when a read has found the host gone but had something to return.
	left bool
}

func newPort(file *os.File) (*port, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &port{file: file, raw: raw}, nil
}

// Read fills p as far as there is data. It is used by one goroutine at a time.
func (f *port) Read(p []byte) (n int, err error) {
	if f.left {
		return 0, io.EOF
	}
	cerr := f.raw.Read(func(fd uintptr) bool {
		for n < len(p) {
			m, errno := call(unix.SYS_READ, fd, p[n:])
			switch {
			case errno == unix.EINTR:
			case errno == unix.EAGAIN:
				return n > 0
			case errno != 0:
				err = errno
				return true
			case m == 0:
				f.left = true
				return true
			default:
				if n += m; m < portRead {
					return true // most likely all there is
				}
			}
		}
		return true
	})
	switch {
	case n > 0:
		return n, nil
	case cerr != nil:
		return 0, cerr
	case err != nil:
		return 0, &os.PathError{Op: "read", Path: f.file.Name(), Err: err}
	case f.left:
		return 0, io.EOF
	}
	return 0, nil
}

// Write writes all of p.
func (f *port) Write(p []byte) (n int, err error) {
	cerr := f.raw.Write(func(fd uintptr) bool {
		for n < len(p) {
			m, errno := call(unix.SYS_WRITE, fd, p[n:])
			switch {
			case errno == unix.EINTR:
			case errno == unix.EAGAIN:
				return false
			case errno != 0:
				err = errno
				return true
			default:
				n += m
			}
		}
		return true
	})
	switch {
	case err != nil:
		return n, &os.PathError{Op: "write", Path: f.file.Name(), Err: err}
	case cerr != nil:
		return n, cerr
	}
	return n, nil
}

func (f *port) Close() error { return f.file.Close() }

func call(trap, fd uintptr, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}
