package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/diff"
)

// Diff implements api.Backend.
func (m *Manager) Diff(_ context.Context, files []api.File, prune bool) ([]json.RawMessage, error) {
	to, err := m.parseFiles(files)
	if err != nil {
		return nil, err
	}
	applied := m.applied()
	if !prune {
		to = diff.Overlay(applied, to)
	}
	changes := diff.Between(applied, to)
	out := make([]json.RawMessage, len(changes))
	for i := range changes {
		m.noteObstacles(&changes[i])
		if out[i], err = json.Marshal(&changes[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseFiles reads files as if they were in the first directory of manifests.
// Positions have the files' own names.
func (m *Manager) parseFiles(files []api.File) ([]manifests.Object, error) {
	dir := ""
	if len(m.opts.ManifestDirs) > 0 {
		dir = m.opts.ManifestDirs[0]
	}
	var all []manifests.Object
	first := map[manifests.Key]manifests.Position{}
	for _, f := range files {
		if !filepath.IsLocal(f.Name) {
			return nil, fmt.Errorf("%w: %q is no path in a directory", drivers.ErrInvalidArgument, f.Name)
		}
		objects, errs := manifests.ParseWithKeys(filepath.Join(dir, f.Name), f.Data, m.opts.Keys)
		if len(errs) > 0 {
			return nil, manifestErrors(f.Name, errs)
		}
		for _, obj := range objects {
			obj.Position.File = f.Name
			if at, twice := first[obj.Key]; twice {
				return nil, fmt.Errorf("%w: %s: %s is already in %s", drivers.ErrInvalidArgument, obj.Position, obj.Key, at)
			}
			first[obj.Key] = obj.Position
			all = append(all, obj)
		}
	}
	return all, nil
}

// applied returns the objects as last applied, but those that are being removed.
func (m *Manager) applied() []manifests.Object {
	var all []manifests.Object
	for _, e := range m.allManaged() {
		e.mu.Lock()
		if r := e.record; r != nil && r.DeletionTimestamp == nil && r.Owner == nil {
			obj := manifests.Object{
				Key: r.Key, Position: r.Source, APIVersion: r.APIVersion, Kind: r.Kind,
				Manifest: r.Manifest, Sandbox: r.Sandbox,
			}
			if w := r.Workload; w != nil {
				w.wanted(&obj)
			}
			all = append(all, obj)
		}
		e.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.configs {
		if c.object != nil {
			all = append(all, *c.object)
		}
	}
	return all
}

// noteObstacles says why a change would not happen, or not at once.
func (m *Manager) noteObstacles(c *diff.Object) {
	if since := m.suspendedSince(); !since.IsZero() {
		c.Notes = append(c.Notes, `reconciling is suspended: nothing happens until "vzctl reconcile resume --all"`)
	}
	key := manifests.Key{Kind: c.Kind, Namespace: c.Namespace, Name: c.Name}
	if c.Kind == "Pod" {
		key.Kind = manifests.KindSandbox
	}
	e := m.managed(key) // nil for what nothing runs for
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.record
	if r == nil {
		return
	}
	if !r.Overrides.SuspendedAt.IsZero() {
		c.Notes = append(c.Notes, fmt.Sprintf(`its reconciling is suspended: nothing happens until "vzctl reconcile resume sandbox %s"`, c.Name))
	}
	if c.Action == diff.Delete && r.pruneDisabled() {
		c.Notes = append(c.Notes, fmt.Sprintf("it stays, for it says %s: %s", manifests.AnnotationPrune, manifests.PruneDisabled))
	}
}
