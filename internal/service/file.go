package service

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// put writes a service's file unless it says so already. A user's is private,
// because of its environment; hiding one of the system would hide nothing, as the
// host's tools show what it says to everybody.
func put(path string, data []byte, system bool) (Change, error) {
	old, err := os.ReadFile(path) //nolint:gosec // where the host looks for services
	switch {
	case err == nil && bytes.Equal(old, data):
		return Unchanged, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("install the service: %w", err)
	}
	change := Updated
	if err != nil {
		change = Installed
		// The host's tools expect others to be able to look in here.
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // see above
			return "", fmt.Errorf("install the service: %w", err)
		}
	}
	if err := state.WriteFile(path, data); err != nil {
		return "", fmt.Errorf("install the service: %w", err)
	}
	if system {
		if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // see above
			return "", fmt.Errorf("install the service: %w", err)
		}
	}
	return change, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// need returns ErrNotInstalled if a service's file is not there.
func need(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s", ErrNotInstalled, path)
	}
	return err
}
