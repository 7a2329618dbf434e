package procfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// processWaiter returns a function that waits for the end of a process on a
// pidfd, which costs no thread: Go's own poller waits for it.
func processWaiter(id ID) (func(context.Context) bool, error) {
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	switch {
	case errors.Is(err, unix.ESRCH):
		return func(context.Context) bool { return true }, nil
	case err != nil:
		// Before Linux 5.10, or in a sandbox that does not know the call.
		return func(ctx context.Context) bool { return pollProcess(ctx, id) }, nil //nolint:nilerr // another way is taken
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", id.PID))
	// The number may have gone to another process before the pidfd was opened.
	if !id.Alive() {
		_ = f.Close()
		return func(context.Context) bool { return true }, nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("watch process %d: %w", id.PID, err)
	}
	return func(ctx context.Context) bool {
		defer f.Close()
		stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		err := conn.Read(func(fd uintptr) bool { return ended(int(fd)) })
		return err == nil
	}, nil
}

// ended reports whether a pidfd's process has ended: the pidfd is readable then.
func ended(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}
