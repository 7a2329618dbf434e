package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

var _ api.Backend = (*Manager)(nil)

// Status implements api.Backend.
func (m *Manager) Status(context.Context) (*api.StatusResponse, error) {
	resp := &api.StatusResponse{
		Version:        version.String(),
		Pid:            int64(os.Getpid()),
		StartedAt:      timestamppb.New(m.started),
		StateDir:       string(m.opts.StateDir),
		ManifestDirs:   m.opts.ManifestDirs,
		MetricsAddr:    m.opts.MetricsAddr,
		DefaultRuntime: m.opts.DefaultRuntime,
		Phases:         map[string]int64{},
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for phase, n := range m.phases {
		if n > 0 {
			resp.Phases[string(phase)] = int64(n)
		}
	}
	for _, e := range m.synced.errors {
		resp.SourceErrors = append(resp.SourceErrors, sourceError(e))
	}
	sources := m.opts.Source.Status()
	if at := lastSync(sources); !at.IsZero() {
		resp.LastSync = timestamppb.New(at)
	}
	if !m.suspended.IsZero() {
		resp.SuspendedSince = timestamppb.New(m.suspended)
	}
	for _, s := range sources {
		resp.Sources = append(resp.Sources, sourceStatus(s))
	}
	for _, key := range m.synced.held {
		resp.PruneHeld = append(resp.PruneHeld, key.String())
	}
	for _, r := range m.runtimes {
		rs := &api.RuntimeStatus{Name: r.Name, Version: r.Version, Path: r.Path, Ready: r.Err == nil}
		if r.Err != nil {
			rs.Message = r.Err.Error()
		}
		resp.Runtimes = append(resp.Runtimes, rs)
	}
	return resp, nil
}

func sourceStatus(s source.Status) *api.SourceStatus {
	st := &api.SourceStatus{Name: s.Name}
	if !s.LastSync.IsZero() {
		st.LastSync = timestamppb.New(s.LastSync)
	}
	if r := s.Revision; r != nil {
		st.Commit, st.Author, st.Signer, st.CommitTime = r.Commit, r.Author, r.Signer, timestamppb.New(r.Time.Time)
	}
	if s.Problem != nil {
		st.Message = s.Problem.Message
	}
	return st
}

func sourceError(e *manifests.Error) *api.SourceError {
	// The position has fields of its own.
	bare := *e
	bare.Position = manifests.Position{}
	return &api.SourceError{
		File: e.File, Line: int32(e.Line), Column: int32(e.Column), //nolint:gosec // a file is bounded
		Message: strings.TrimPrefix(bare.Error(), ": "),
	}
}

// keyOf returns the key that a reference means.
func keyOf(ref *api.Ref) (manifests.Key, error) {
	key := manifests.Key{Namespace: cmp.Or(ref.GetNamespace(), manifests.DefaultNamespace), Name: ref.GetName()}
	sel, err := parseKind(cmp.Or(ref.GetKind(), manifests.KindSandbox))
	if err != nil {
		return key, err
	}
	if len(sel.keys) != 1 {
		return key, fmt.Errorf("%w: %q is not the kind of one object", drivers.ErrInvalidArgument, ref.GetKind())
	}
	key.Kind = sel.keys[0]
	if key.Name == "" {
		return key, fmt.Errorf("%w: the object's name is missing", drivers.ErrInvalidArgument)
	}
	return key, nil
}

// refOf is a key as the API has it.
func refOf(key manifests.Key) *api.Ref {
	return &api.Ref{Kind: key.Kind, Namespace: key.Namespace, Name: key.Name}
}

// sandbox returns the sandbox that a reference means.
func (m *Manager) sandbox(ref *api.Ref) (*object, error) {
	key, err := keyOf(ref)
	if err != nil {
		return nil, err
	}
	if key.Kind != manifests.KindSandbox {
		return nil, fmt.Errorf("%w: %s is not a sandbox", drivers.ErrInvalidArgument, key)
	}
	if o := m.object(key); o != nil {
		return o, nil
	}
	return nil, m.notFound(key)
}

// sandboxOf returns the sandbox that a reference means: a claim's is the one that it
// has.
func (m *Manager) sandboxOf(ref *api.Ref) (*object, error) {
	key, err := keyOf(ref)
	if err != nil {
		return nil, err
	}
	if key.Kind != manifests.KindSandboxClaim {
		return m.sandbox(ref)
	}
	if m.lookup(key) == nil {
		return nil, m.notFound(key)
	}
	if owned := m.ownedBy(key); len(owned) > 0 {
		return m.sandbox(refOf(owned[0]))
	}
	return nil, fmt.Errorf("%s: %w: it has no sandbox: \"vzctl describe sandboxclaim %s\" says why", key, drivers.ErrInvalidState, key.Name)
}

// running returns the instance of a sandbox that runs, and the record it was
// started from.
func (m *Manager) running(ref *api.Ref) (*object, Instance, error) {
	o, err := m.sandboxOf(ref)
	if err != nil {
		return nil, nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.instance == nil || o.snapshot.State != drivers.StateRunning {
		return nil, nil, fmt.Errorf("%s: %w: it is %s", o.key, drivers.ErrInvalidState, o.status.Phase)
	}
	return o, o.instance, nil
}
