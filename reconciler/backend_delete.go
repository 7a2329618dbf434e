package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/edit"
)

// Delete implements api.Backend. It takes the object's document out of its file;
// what follows is what follows whenever a manifest goes, except that nothing
// more need be confirmed.
func (m *Manager) Delete(ctx context.Context, req *api.DeleteRequest) (*api.DeleteResponse, error) {
	key, err := keyOf(req.GetObject())
	if err != nil {
		return nil, err
	}
	v := m.lookup(key)
	if v == nil {
		return nil, m.notFound(key)
	}
	if v.owner != nil {
		// No manifest has it: its owner makes another one, if it wants one.
		_ = m.entrust(key, v.owner, intent{gone: true})
		m.takenIn(ctx, key, func(v *view) bool { return v == nil || v.deleted != nil })
		return &api.DeleteResponse{}, nil
	}
	if v.revision != nil {
		return nil, fmt.Errorf("%s: %w: it is in %s: remove it there", key, drivers.ErrInvalidArgument, v.source.File)
	}
	m.editing.Lock()
	defer m.editing.Unlock()
	file := v.source.File
	if file == "" {
		file = m.errorFile(key)
	}
	err = removeDocument(file, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, edit.ErrNotThere) {
		return nil, err
	}
	m.mu.Lock()
	m.synced.confirmed[key] = time.Now()
	m.mu.Unlock()
	m.opts.Source.Resync()
	m.takenIn(ctx, key, func(v *view) bool { return v == nil || v.deleted != nil })
	return &api.DeleteResponse{File: file}, nil
}

// errorFile returns the file of an object of which only an error is known.
func (m *Manager) errorFile(key manifests.Key) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.synced.errors {
		if e.Key != nil && *e.Key == key {
			return e.File
		}
	}
	return ""
}

// removeDocument takes an object out of a file, and removes the file with its
// last one.
func removeDocument(path string, key manifests.Key) error {
	data, err := readManifest(path)
	if err != nil {
		return err
	}
	rest, err := edit.Remove(path, data, key)
	switch {
	case errors.Is(err, edit.ErrNotThere):
		if _, errs := manifests.Parse(path, data); len(errs) > 0 {
			return fmt.Errorf("%w: %s cannot be told apart in a file with errors: mend or remove it: %w", drivers.ErrInvalidState, key, errs[0])
		}
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", drivers.ErrInvalidState, err)
	case len(rest) > 0:
		return writeManifest(path, rest)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the manifest of %s: %w", key, err)
	}
	return state.SyncDir(filepath.Dir(path))
}
