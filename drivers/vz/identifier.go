package vz

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	// identifierFile is, in the machine's own directory, the framework's name for it.
	identifierFile = "machine-identifier"
	// maxIdentifier bounds it. Real ones take some hundred bytes.
	maxIdentifier = 4 << 10
)

// machineIdentifier returns the identifier that is kept in dir, or makes one and
// keeps it.
func machineIdentifier(dir string, make func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(dir, identifierFile)
	id, err := os.ReadFile(path) //nolint:gosec // in the machine's own directory
	switch {
	case err == nil && len(id) > 0 && len(id) <= maxIdentifier:
		return id, nil
	case err == nil:
		return nil, fmt.Errorf("%s is damaged (%d bytes): remove it, and the machine gets a new one", path, len(id))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("machine identifier: %w", err)
	}
	if id, err = make(); err != nil {
		return nil, fmt.Errorf("make a machine identifier: %w", err)
	}
	return id, state.WriteFile(path, id)
}
