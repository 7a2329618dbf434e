package qemu

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hide takes the socket at path out of the file system. It can still be dialled
// through a descriptor that holds it, and so by processes of this user that know
// where that is; and there is nothing that a crash could leave behind.
func hide(path string) (*address, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("hold socket %s: %w", path, err)
	}
	held := os.NewFile(uintptr(fd), path)
	if err := os.Remove(path); err != nil {
		held.Close()
		return nil, err
	}
	return &address{path: fmt.Sprintf("/proc/self/fd/%d", fd), hold: held}, nil
}

// adopted returns the sockets of a QEMU process that another process started: it
// holds them itself.
func adopted(pid int, _, _ string) *sockets {
	s := &sockets{}
	for i := range socketCount {
		s.at[i].path = fmt.Sprintf("/proc/%d/fd/%d", pid, MonitorFD+socketCount+i)
	}
	return s
}
