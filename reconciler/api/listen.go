package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// ErrInUse means that a daemon already listens on the socket.
var ErrInUse = errors.New("a daemon is already listening")

// maxSocketPath is what every system takes as a Unix socket's name: macOS has
// 104 bytes for it with the closing NUL, Linux 108.
const maxSocketPath = 103

// probeTimeout bounds the question whether somebody listens on a socket.
const probeTimeout = time.Second

// Listen makes the control socket, for the user alone. The socket of a daemon
// that died is replaced, that of one that lives is ErrInUse.
//
// Where path is longer than a socket's name may be, the socket is made in
// shortDir under the same file name and path becomes a symbolic link to it,
// which Dial follows.
func Listen(ctx context.Context, path, shortDir string) (net.Listener, error) {
	if err := state.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	address := path
	if len(path) > maxSocketPath {
		if err := state.MkdirAll(shortDir); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
		address = filepath.Join(shortDir, filepath.Base(path))
	}
	if err := private(filepath.Dir(address)); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := removeStale(ctx, address); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", address)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// The directory has kept others out until here.
	if err := os.Chmod(address, state.FileMode); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	if address != path {
		if err := link(address, path); err != nil {
			return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
		}
	}
	return l, nil
}

// private makes sure that only the user can enter a directory that was there
// before, and that it is theirs: a stranger may have made it.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user with uid %d, not to you (uid %d): choose another --state-dir", dir, st.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return os.Chmod(dir, state.DirMode) //nolint:gosec // a directory needs its search bit
}

// removeStale removes a socket on which nobody listens.
func removeStale(ctx context.Context, address string) error {
	info, err := os.Lstat(address)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket: %s is in the way and not a socket: remove it", address)
	}
	d := net.Dialer{Timeout: probeTimeout}
	conn, err := d.DialContext(ctx, "unix", address)
	if err == nil {
		return errors.Join(fmt.Errorf("%w on %s", ErrInUse, address), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("control socket: is a daemon listening on it? %w", err)
	}
	if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// link points path to the socket's address.
func link(address, path string) error {
	if old, err := os.Readlink(path); err == nil {
		if old == address {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.Symlink(address, path)
}

// resolve follows the link that Listen leaves in place of a socket whose path is
// too long.
func resolve(path string) string {
	if target, err := os.Readlink(path); err == nil && filepath.IsAbs(target) {
		return target
	}
	return path
}
