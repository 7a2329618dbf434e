package state

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxSecretFile bounds a file with secrets or keys.
const maxSecretFile = 1 << 20

// ReadSecret reads a file, of the configuration, that nobody but its owner, this
// user or root, may read or write, without blanks at either end. It must hold
// something.
func ReadSecret(path string) ([]byte, error) {
	data, err := readOwn(path, 0o077, "chmod 600 it")
	if err != nil {
		return nil, err
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return data, nil
}

// ReadTrusted reads a file that nobody but its owner, this user or root, may
// write: keys that are believed.
func ReadTrusted(path string) ([]byte, error) {
	return readOwn(path, 0o022, "chmod go-w it")
}

func readOwn(path string, forbidden os.FileMode, remedy string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // named in the configuration
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to another user", path)
	case fi.Mode().Perm()&forbidden != 0:
		return nil, fmt.Errorf("%s is open to others (mode %04o): %s", path, fi.Mode().Perm(), remedy)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecretFile {
		return nil, fmt.Errorf("%s is bigger than %d bytes", path, maxSecretFile)
	}
	return data, nil
}
