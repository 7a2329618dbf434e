//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// vsockPort is where the agent listens on vsock.
const vsockPort = 1024

// listenVsock listens for the host. Only the host is let in: processes in
// containers could connect too.
func listenVsock() (opener, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("vsock: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: vsockPort}); err != nil {
		return nil, fmt.Errorf("vsock: bind port %d: %w", vsockPort, err)
	}
	if err := unix.Listen(fd, 4); err != nil {
		return nil, fmt.Errorf("vsock: listen: %w", err)
	}
	return newestOf(func() (io.ReadWriteCloser, error) { return acceptHost(fd) }), nil
}

// acceptHost waits for the host's next connection.
func acceptHost(fd int) (io.ReadWriteCloser, error) {
	for {
		conn, peer, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return nil, fmt.Errorf("vsock: accept: %w", err)
		}
		if vm, ok := peer.(*unix.SockaddrVM); ok && vm.CID == unix.VMADDR_CID_HOST {
			return os.NewFile(uintptr(conn), "vsock"), nil
		}
		unix.Close(conn)
	}
}

// newestOf opens the connections that accept yields, and closes the one before
// when there is another: a host that comes anew has lost it, and a guest that was
// saved and restored is told of that by nobody. It accepts as long as accept does.
func newestOf(accept func() (io.ReadWriteCloser, error)) opener {
	type result struct {
		conn io.ReadWriteCloser
		err  error
	}
	results := make(chan result)
	go func() {
		var last io.Closer
		for {
			conn, err := accept()
			if last != nil {
				_ = last.Close() // the one who serves it may have done so
			}
			results <- result{conn, err}
			if err != nil {
				return
			}
			last = conn
		}
	}()
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		select {
		case r := <-results:
			return r.conn, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
