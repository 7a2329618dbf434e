//go:build linux

package agent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// openTerminal makes a terminal of the container that the calling thread is in.
func openTerminal(size drivers.TerminalSize) (master, slave int, err error) {
	// The container may have put anything here: only the real thing is taken.
	master, err = unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("open a terminal: %w", err)
	}
	slave, err = openSlave(master, size)
	if err != nil {
		unix.Close(master)
		return -1, -1, fmt.Errorf("open a terminal: %w", err)
	}
	return master, slave, nil
}

func openSlave(master int, size drivers.TerminalSize) (int, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(master, &st); err != nil {
		return -1, err
	}
	if st.Type != unix.DEVPTS_SUPER_MAGIC {
		return -1, fmt.Errorf("%w: /dev/pts of the container has been tampered with", drivers.ErrInvalidState)
	}
	if err := setSize(master, size); err != nil {
		return -1, err
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, err
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func setSize(fd int, size drivers.TerminalSize) error {
	return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
}

// pollable wraps a descriptor such that a read of it can be interrupted.
func pollable(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
