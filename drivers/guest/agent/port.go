//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kinds of channel, chosen with "vzr.channel=" on the kernel's command line.
const (
	channelVirtio = "virtio"
	channelVsock  = "vsock"

	// portName is the name of the virtio-serial port.
	portName = "agent"
)

// opener waits for the host and returns the next byte channel to it.
type opener func(ctx context.Context) (io.ReadWriteCloser, error)

func openChannel(ctx context.Context, kind string) (opener, error) {
	switch kind {
	case channelVirtio:
		dev, err := findPort(ctx)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (io.ReadWriteCloser, error) { return openPort(ctx, dev) }, nil
	case channelVsock:
		return listenVsock()
	default:
		return nil, fmt.Errorf("unknown kind of channel %q in vzr.channel", kind)
	}
}

// findPort returns the device of the virtio-serial port that is the channel.
// The kernel makes it a little after the driver is loaded.
func findPort(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var dev string
	err := waitFor(ctx, time.Millisecond, func() (bool, error) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return false, err
		}
		for _, file := range names {
			name, err := os.ReadFile(file)
			if err == nil && strings.TrimSpace(string(name)) == portName {
				dev = "/dev/" + filepath.Base(filepath.Dir(file))
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return "", fmt.Errorf("find the virtio-serial port %q: %w", portName, err)
	}
	return dev, nil
}

// openPort opens the port once the host is connected to it.
func openPort(ctx context.Context, dev string) (io.ReadWriteCloser, error) {
	var file *os.File
	err := waitFor(ctx, 20*time.Millisecond, func() (bool, error) {
		f, err := os.OpenFile(dev, os.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENXIO) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		connected, err := hostConnected(f)
		if err != nil || !connected {
			f.Close()
			return false, err
		}
		file = f
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return newPort(file)
}

// hostConnected asks the driver, which knows.
func hostConnected(f *os.File) (bool, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	fds := []unix.PollFd{{Events: unix.POLLIN}}
	if cerr := raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		_, err = unix.Poll(fds, 0)
	}); cerr != nil {
		return false, cerr
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, err
	}
	return fds[0].Revents&unix.POLLHUP == 0, nil
}

// waitFor asks cond again and again until it is true, fails, or ctx ends.
func waitFor(ctx context.Context, every time.Duration, cond func() (bool, error)) error {
	for {
		ok, err := cond()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}
