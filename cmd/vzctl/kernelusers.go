package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// nameList is shown with commas.
type nameList []string

func (l nameList) String() string { return strings.Join(l, ", ") }

// kernelUsers returns the sandboxes that boot a kernel, as "namespace/name".
func kernelUsers(dir bundle.StateDir, k kernels.Kernel) (nameList, error) {
	files, err := filepath.Glob(filepath.Join(dir.Sandboxes(), "*", "*", drivers.ConfigurationFile))
	if err != nil {
		return nil, err
	}
	var users nameList
	for _, file := range files {
		var cfg drivers.Configuration
		err := state.ReadJSON(file, &cfg)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, fmt.Errorf("find the sandboxes that use kernel %q: %w", k.Name, err)
		}
		if cfg.Kernel.Image == k.Image {
			users = append(users, cfg.ID)
		}
	}
	return users, nil
}
