package reconciler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/edit"
)

// ReadDocument implements api.Backend.
func (m *Manager) ReadDocument(_ context.Context, req *api.ReadDocumentRequest) (*api.ReadDocumentResponse, error) {
	key, file, err := m.editable(req.GetObject())
	if err != nil {
		return nil, err
	}
	data, err := readManifest(file)
	if err != nil {
		return nil, err
	}
	doc, err := edit.Document(file, data, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", drivers.ErrInvalidState, err)
	}
	return &api.ReadDocumentResponse{File: file, Data: doc, Version: contentVersion(data)}, nil
}

// ReplaceDocument implements api.Backend.
func (m *Manager) ReplaceDocument(ctx context.Context, req *api.ReplaceDocumentRequest) (*api.ReplaceDocumentResponse, error) {
	m.editing.Lock()
	defer m.editing.Unlock()
	key, file, err := m.editable(req.GetObject())
	if err != nil {
		return nil, err
	}
	objects, errs := manifests.ParseWithKeys(file, req.GetData(), m.opts.Keys)
	switch {
	case len(errs) > 0:
		return nil, manifestErrors(file, errs)
	case len(objects) != 1 || objects[0].Key != key:
		return nil, fmt.Errorf("%w: what replaces %s must be just that object", drivers.ErrInvalidArgument, key)
	}
	data, err := readManifest(file)
	if err != nil {
		return nil, err
	}
	if contentVersion(data) != req.GetVersion() {
		return nil, fmt.Errorf("%w: %s has changed meanwhile", drivers.ErrInvalidState, file)
	}
	edited, err := edit.Replace(file, data, key, req.GetData())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", drivers.ErrInvalidState, err)
	}
	if len(edited) > manifests.MaxFileBytes {
		return nil, tooLarge(file, len(edited))
	}
	if err := writeManifest(file, edited); err != nil {
		return nil, err
	}
	m.opts.Source.Resync()
	obj := &objects[0]
	m.takenIn(ctx, key, func(v *view) bool { return v != nil && (v.problem != nil || v.deleted != nil || m.sameContent(v, obj)) })
	return &api.ReplaceDocumentResponse{Warnings: append(obj.Warnings, m.suspensionWarnings(key)...)}, nil
}

// editable returns the file that holds an object, if the daemon may write it.
func (m *Manager) editable(ref *api.Ref) (manifests.Key, string, error) {
	key, err := keyOf(ref)
	if err != nil {
		return key, "", err
	}
	v := m.lookup(key)
	if v == nil {
		return key, "", m.notFound(key)
	}
	file := v.source.File
	if file == "" {
		file = m.errorFile(key)
	}
	switch {
	case file == "":
		return key, "", fmt.Errorf("%w: %s has no manifest", drivers.ErrInvalidState, key)
	case v.revision != nil || !m.writable(file):
		return key, "", fmt.Errorf("%w: %s comes from %s, which is in no directory that the daemon watches: change it there, and commit that", drivers.ErrInvalidState, key, file)
	}
	return key, file, nil
}

// writable reports whether a file lies in one of the directories that the daemon
// writes manifests into.
func (m *Manager) writable(file string) bool {
	return slices.ContainsFunc(m.opts.ManifestDirs, func(dir string) bool {
		rel, err := filepath.Rel(dir, file)
		return err == nil && filepath.IsLocal(rel)
	})
}

// contentVersion stands for what a file holds.
func contentVersion(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// suspensionWarnings says that what was written is not followed, if so.
func (m *Manager) suspensionWarnings(key manifests.Key) []string {
	if !m.suspendedSince().IsZero() {
		return []string{`reconciling is suspended: it takes effect with "vzctl reconcile resume --all"`}
	}
	o := m.object(key)
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record == nil || o.record.Overrides.SuspendedAt.IsZero() {
		return nil
	}
	return []string{fmt.Sprintf(`its reconciling is suspended: it takes effect with "vzctl reconcile resume sandbox %s"`, key.Name)}
}
