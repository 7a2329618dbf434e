package plugins

import "golang.org/x/sys/unix"

// peerPID returns the process that listens at the other end of a Unix socket.
func peerPID(fd int) (int, error) {
	// SOL_LOCAL and LOCAL_PEERPID of sys/un.h.
	return unix.GetsockoptInt(fd, 0, 2)
}
