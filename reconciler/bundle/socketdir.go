package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// SocketDir makes, if need be, the short private directory for the sockets of a
// state directory and returns its path: the name of a Unix socket is at most 104
// bytes on macOS and 108 on Linux, and a bundle's path may well be longer. The
// same state directory, which must exist, always has the same one, as long as the
// environment is the same.
//
// Other users can write where it may lie (/tmp). What is there already is
// therefore only used if it is a directory, not a link, of this user, that no
// other can enter.
func SocketDir(stateDir StateDir) (string, error) {
	abs, err := filepath.Abs(string(stateDir))
	if err != nil {
		return "", fmt.Errorf("make the socket directory: %w", err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", fmt.Errorf("make the socket directory: %w", err)
	}
	sum := sha256.Sum256([]byte(abs))
	hash := hex.EncodeToString(sum[:4])

	if base := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) && len(base) <= maxRuntimeDir {
		dir := filepath.Join(base, program+"-"+hash)
		if err := makePrivate(dir); err == nil {
			return dir, nil
		}
		// A variable left over from another session must not stop us.
	}
	dir := filepath.Join("/tmp", "vzr-"+strconv.Itoa(os.Getuid())+"-"+hash)
	if err := makePrivate(dir); err != nil {
		return "", fmt.Errorf("make the socket directory: %w", err)
	}
	return dir, nil
}

// maxRuntimeDir leaves room for our own directory and a socket's name in it.
const maxRuntimeDir = 40

// makePrivate makes dir, or checks that the one there is ours alone.
func makePrivate(dir string) error {
	err := os.Mkdir(dir, state.DirMode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkPrivate(dir)
}

func checkPrivate(dir string) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.IsDir():
		return fmt.Errorf("%s is not a directory: remove it", dir)
	case !ok || int(st.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user: have it removed, or set XDG_RUNTIME_DIR to a directory of your own", dir)
	case fi.Mode().Perm() != state.DirMode:
		// Who could write there may have left something behind.
		return fmt.Errorf("%s has mode %v instead of %v: remove it", dir, fi.Mode().Perm(), os.FileMode(state.DirMode))
	}
	return nil
}
