//go:build linux

// Command rawport is PID 1 of a guest that does nothing but use the agent's port
// as fast as it can: it sends a byte when it is there, takes so many bytes and answers
// with one, waits for another, sends as many, and takes the next. How many is its only argument on the kernel's command line,
// "rawport=N".
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pieceBytes is how much is read or written with one call of ours. The kernel's
// driver makes 4 KiB of a read and 32 KiB of a write at the most.
const pieceBytes = 1 << 20

func main() {
	fmt.Fprintln(os.Stderr, "rawport:", run())
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	for fstype, target := range map[string]string{"proc": "/proc", "sysfs": "/sys", "devtmpfs": "/dev"} {
		if err := unix.Mount(fstype, target, fstype, 0, ""); err != nil {
			return err
		}
	}
	total, err := argument()
	if err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	piece := make([]byte, pieceBytes)
	if _, err := port.Write(piece[:1]); err != nil {
		return err
	}
	for {
		if _, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(port, total), piece); err != nil {
			return err
		}
		if _, err := port.Write(piece[:1]); err != nil {
			return err
		}
		if _, err := io.ReadFull(port, piece[:1]); err != nil {
			return err
		}
		for left := total; left > 0; left -= pieceBytes {
			if _, err := port.Write(piece[:min(left, pieceBytes)]); err != nil {
				return err
			}
		}
	}
}

// onlyWriter hides ReadFrom, which would use a buffer of its own.
type onlyWriter struct{ io.Writer }

func argument() (int64, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(line), "rawport=")
	word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return strconv.ParseInt(word, 10, 64)
}

// loadModules loads what package initramfs has put there for the channel.
func loadModules() error {
	list, err := os.ReadFile("/modules/list")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		when, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if when != "channel" {
			continue
		}
		f, err := os.Open(filepath.Join("/modules", name+".ko"))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// openPort opens the only port there is, as the agent does, when it has come.
func openPort() (*os.File, error) {
	for {
		ports, err := filepath.Glob("/dev/vport*p1")
		if err != nil {
			return nil, err
		}
		if len(ports) > 0 {
			return os.OpenFile(ports[0], os.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		}
		<-time.After(10 * time.Millisecond)
	}
}
