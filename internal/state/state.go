// Package state writes and reads the files of the state directory: whole or not
// at all, private to the user, on the disk before the call returns.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// Modes of everything in a state directory.
const (
	FileMode = 0o600
	DirMode  = 0o700
)

// ErrLocked means that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// WriteFile replaces the file at path by one that holds data, by rename after
// fsync: a crash leaves the old content or the new, never a part.
func WriteFile(path string, data []byte) error {
	// Beside the target, never in a directory that strangers share.
	if err := renameio.WriteFile(path, data, FileMode, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// ReplaceFile is WriteFile for a file that is not only ours: one that is there
// keeps its mode.
func ReplaceFile(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, FileMode, renameio.WithTempDir(filepath.Dir(path)), renameio.WithExistingPermissions()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// WriteFileNoSync is WriteFile for what is known again after a crash of the host,
// and written often: readers see the old content or the new, but nothing waits
// for the disk. Each path has one writer at a time.
func WriteFileNoSync(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, FileMode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// WriteJSON writes v, indented, with WriteFile.
func WriteJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteFile(path, append(data, '\n'))
}

// ReadJSON reads the file at path into v. A missing file is fs.ErrNotExist.
func ReadJSON(path string, v any) error {
	data, err := os.ReadFile(path) //nolint:gosec // paths come from the one place that names them
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// MkdirAll makes a directory, and those above it, that only the user may enter.
func MkdirAll(dir string) error {
	return os.MkdirAll(dir, DirMode)
}

// SyncDir makes the entries of a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // see ReadJSON
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// TryLock takes the lock file at path without waiting and returns what releases
// it. The kernel releases it too when the process ends. If another process has
// it, the error wraps ErrLocked.
func TryLock(path string) (unlock func() error, err error) {
	l := flock.New(path, flock.SetPermissions(FileMode))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	return l.Unlock, nil
}
