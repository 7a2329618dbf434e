package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/edit"
)

// Results of Apply.
const (
	resultCreated    = "created"
	resultConfigured = "configured"
	resultUnchanged  = "unchanged"
)

// Apply implements api.Backend. All of the objects are written or none.
func (m *Manager) Apply(ctx context.Context, req *api.ApplyRequest) (*api.ApplyResponse, error) {
	path, err := m.manifestPath(req.GetFileName())
	if err != nil {
		return nil, err
	}
	objects, errs := manifests.ParseWithKeys(path, req.GetData(), m.opts.Keys)
	if len(errs) > 0 {
		return nil, manifestErrors(req.GetFileName(), errs)
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("%s: %w: it holds no object", req.GetFileName(), drivers.ErrInvalidArgument)
	}
	m.editing.Lock()
	defer m.editing.Unlock()

	resp := &api.ApplyResponse{}
	changed := false
	seen := map[manifests.Key]bool{}
	for i := range objects {
		obj := &objects[i]
		if seen[obj.Key] {
			return nil, fmt.Errorf("%s: %w: %s is in it twice", req.GetFileName(), drivers.ErrInvalidArgument, obj.Key)
		}
		seen[obj.Key] = true
		result, err := m.compare(obj, path)
		if err != nil {
			return nil, err
		}
		if req.GetCreate() && result != resultCreated {
			return nil, fmt.Errorf("%s: %w: there is one already: choose another name, or remove that one first", obj.Key, drivers.ErrInvalidState)
		}
		changed = changed || result != resultUnchanged
		resp.Results = append(resp.Results, &api.ApplyResult{Object: refOf(obj.Key), Result: result, Warnings: append(obj.Warnings, m.suspensionWarnings(obj.Key)...)})
	}
	if req.GetDryRun() || !changed {
		return resp, nil
	}
	if err := m.mergeInto(path, req.GetData()); err != nil {
		return nil, err
	}
	m.opts.Source.Resync()
	if !m.suspendedSince().IsZero() {
		return resp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, takenInTimeout)
	defer cancel()
	for i := range objects {
		obj := &objects[i]
		m.takenIn(ctx, obj.Key, func(v *view) bool { return v != nil && (v.problem != nil || v.deleted != nil || m.sameContent(v, obj)) })
	}
	return resp, nil
}

// manifestPath returns the path of a file in the first directory of manifests.
func (m *Manager) manifestPath(name string) (string, error) {
	if name == "" || name != filepath.Base(name) || !manifests.IsManifestFile(name) {
		return "", fmt.Errorf("%w: %q is no name for a manifest file: want NAME.yaml, without a directory", drivers.ErrInvalidArgument, name)
	}
	if len(m.opts.ManifestDirs) == 0 {
		return "", fmt.Errorf("%w: the daemon watches no directory", drivers.ErrUnavailable)
	}
	return filepath.Join(m.opts.ManifestDirs[0], name), nil
}

// manifestErrors returns errors about a file as one, under the name that the
// user knows.
func manifestErrors(name string, errs []*manifests.Error) error {
	all := make([]string, 0, len(errs))
	for _, e := range errs {
		named := *e
		named.File = name
		all = append(all, named.Error())
	}
	return fmt.Errorf("%w: %s", drivers.ErrInvalidArgument, strings.Join(all, "\n"))
}

// compare says what applying an object would be, and refuses one that lives in
// another file.
func (m *Manager) compare(obj *manifests.Object, path string) (string, error) {
	v := m.lookup(obj.Key)
	if v == nil {
		return resultCreated, nil
	}
	if v.owner != nil {
		return "", fmt.Errorf("%s: %w: it belongs to %s: choose another name", obj.Key, drivers.ErrInvalidArgument, ownerKey(obj.Key.Namespace, v.owner))
	}
	if v.revision != nil {
		return "", fmt.Errorf("%s: %w: it is in %s: commit the change there", obj.Key, drivers.ErrInvalidArgument, v.source.File)
	}
	if v.source.File != "" && !samePath(v.source.File, path) {
		if _, err := os.Stat(v.source.File); err == nil {
			return "", fmt.Errorf("%s: %w: it is in %s: edit it there, or remove it there first", obj.Key, drivers.ErrInvalidArgument, v.source.File)
		}
	}
	switch {
	case v.source.File == "":
		return resultCreated, nil
	case v.problem == nil && v.deleted == nil && m.sameContent(v, obj):
		return resultUnchanged, nil
	}
	return resultConfigured, nil
}

// sameContent reports whether an object's manifest holds just what is applied.
func (m *Manager) sameContent(v *view, obj *manifests.Object) bool {
	if v.apiVersion != obj.APIVersion || !bytes.Equal(v.manifest, obj.Manifest) {
		return false
	}
	if !obj.Key.IsConfig() {
		return true
	}
	// A Secret's manifest is shown without its values: these are compared too.
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.configs[obj.Key]
	return c != nil && c.object != nil && c.hash(c.object) == c.hash(obj)
}

func samePath(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	fa, err := os.Stat(a)
	if err != nil {
		return false
	}
	fb, err := os.Stat(b)
	return err == nil && os.SameFile(fa, fb)
}

// mergeInto puts documents into the file at path. What else is in it stays.
func (m *Manager) mergeInto(path string, data []byte) error {
	old, err := readManifest(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = m.makeManifestDir(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	merged, err := edit.Merge(path, old, data)
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
	}
	if len(merged) > manifests.MaxFileBytes {
		return tooLarge(path, len(merged))
	}
	return writeManifest(path, merged)
}

func tooLarge(path string, size int) error {
	return fmt.Errorf("%w: %s would have %d bytes, more than the %d that a manifest may have", drivers.ErrInvalidArgument, path, size, manifests.MaxFileBytes)
}

// makeManifestDir makes the directory of manifests, unless objects were applied
// from it: one that has vanished must not come back empty, or all would go.
func (m *Manager) makeManifestDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	for _, file := range m.appliedFrom() {
		if rel, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(rel) {
			return fmt.Errorf("%w: the manifests' directory %s is gone: bring it back first", drivers.ErrUnavailable, dir)
		}
	}
	return state.MkdirAll(dir)
}

func readManifest(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > manifests.MaxFileBytes {
		return nil, fmt.Errorf("%w: %s is not a manifest file", drivers.ErrInvalidArgument, path)
	}
	return os.ReadFile(path) //nolint:gosec // in a directory that the user gave
}

// writeManifest replaces a file, through a link if it is one. It keeps its mode.
func writeManifest(path string, data []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return state.ReplaceFile(path, data)
}
