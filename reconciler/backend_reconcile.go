package reconciler

import (
	"context"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// SuspendReconciling implements api.Backend.
func (m *Manager) SuspendReconciling(_ context.Context, req *api.SuspendReconcilingRequest) error {
	now := time.Now().UTC().Truncate(time.Second)
	if req.GetObject() == nil {
		return m.setFollowing(now, "reconciling is suspended")
	}
	return m.change(req.GetObject(), func(r *Record) error {
		if r.Overrides.SuspendedAt.IsZero() {
			r.Overrides.SuspendedAt = now
		}
		return nil
	})
}

// ResumeReconciling implements api.Backend.
func (m *Manager) ResumeReconciling(_ context.Context, req *api.ResumeReconcilingRequest) error {
	if req.GetObject() == nil {
		return m.setFollowing(time.Time{}, "reconciling goes on")
	}
	return m.change(req.GetObject(), func(r *Record) error {
		r.Overrides.SuspendedAt = time.Time{}
		return nil
	})
}

// ReconcileNow implements api.Backend.
func (m *Manager) ReconcileNow(_ context.Context, req *api.ReconcileNowRequest) error {
	if ref := req.GetObject(); ref != nil {
		return m.change(ref, func(*Record) error { return nil })
	}
	for _, o := range m.allObjects() {
		o.mu.Lock()
		o.tryAgain()
		o.mu.Unlock()
		m.queue.Add(o.key)
	}
	m.relook()
	return nil
}

// setFollowing suspends reconciling as a whole or, with a zero time, resumes it.
func (m *Manager) setFollowing(suspended time.Time, say string) error {
	if err := m.setSuspension(suspended); err != nil {
		return err
	}
	m.log.Info(say)
	m.relook()
	return nil
}

// change changes what a user asked for, and has the manifests looked at in its
// light before it returns.
func (m *Manager) change(ref *api.Ref, change func(*Record) error) error {
	o, err := m.sandbox(ref)
	if err != nil {
		return err
	}
	if err := m.changeOverrides(o, change); err != nil {
		return err
	}
	m.relook()
	_, err = m.reconcile(o.key)
	m.queue.Add(o.key)
	return err
}
