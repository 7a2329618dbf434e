package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// maxSocketPath is the longest name of a Unix socket: 108 bytes on Linux, 104 on
// macOS, with the zero at the end.
const maxSocketPath = 103

// sockets are those that a QEMU process serves: it inherits them listening, so
// that whoever dials has nothing to poll for.
type sockets struct {
	// at are their addresses, in the order of their descriptors.
	at [socketCount]address
	// files are what QEMU inherits, from descriptor MonitorFD on.
	files []*os.File
}

// address is where a socket is dialled.
type address struct {
	path string
	// named says that the socket has a name in the file system.
	named bool
	// hold keeps the socket dialable where it has no name in the file system.
	hold *os.File
}

// The sockets by their index.
const (
	monitorSocket = iota
	agentSocket
	consoleSocket
	socketCount
)

// socketPath is the same for each start of one sandbox, so that what a crash
// left behind, where a socket cannot be hidden, is replaced by the next start.
func socketPath(dir, id string, index int) string {
	sum := sha256.Sum256([]byte(id))
	name := [socketCount]string{"qmp", "vm", "tty"}[index]
	return filepath.Join(dir, name+"-"+hex.EncodeToString(sum[:6])+".sock")
}

// listenAll makes the sockets of a machine.
func listenAll(dir, id string) (_ *sockets, err error) {
	s := &sockets{}
	defer func() {
		if err != nil {
			s.closeFiles()
			s.release()
		}
	}()
	var held []*os.File
	for i := range socketCount {
		f, addr, err := listen(socketPath(dir, id, i))
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
		s.at[i] = *addr
		if addr.hold != nil {
			held = append(held, addr.hold)
		}
	}
	// QEMU makes nothing of these, but holds them: see adopted.
	s.files = append(s.files, held...)
	return s, nil
}

// closeFiles closes this process's copies of what QEMU serves.
func (s *sockets) closeFiles() {
	for _, f := range s.files[:min(len(s.files), socketCount)] {
		f.Close()
	}
}

// release gives the addresses up, once QEMU is gone.
func (s *sockets) release() {
	for _, a := range s.at {
		if a.hold != nil {
			a.hold.Close()
		}
		if a.named {
			_ = os.Remove(a.path)
		}
	}
}

func (s *sockets) dial(ctx context.Context, index int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", s.at[index].path)
}

// listen makes one socket.
func listen(path string) (*os.File, *address, error) {
	if len(path) > maxSocketPath {
		return nil, nil, fmt.Errorf("socket %s: %w: the path has %d bytes, the system allows %d: use a shorter socket directory",
			path, drivers.ErrInvalidArgument, len(path), maxSocketPath)
	}
	if err := state.MkdirOwn(filepath.Dir(path)); err != nil {
		return nil, nil, fmt.Errorf("make the socket directory: %w: %w", drivers.ErrUnavailable, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("remove a stale socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(path, state.FileMode); err != nil {
		return nil, nil, err
	}
	f, err := l.File()
	if err != nil {
		return nil, nil, err
	}
	addr, err := hide(path)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, addr, nil
}
