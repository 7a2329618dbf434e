package reconciler

import (
	"context"
	"fmt"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Stop implements api.Backend.
func (m *Manager) Stop(_ context.Context, req *api.StopRequest) error {
	var grace *int64
	if req.GetGracePeriod() != nil {
		d := req.GetGracePeriod().AsDuration()
		if d < 0 {
			return fmt.Errorf("%w: the grace period %s is negative", drivers.ErrInvalidArgument, d)
		}
		s := int64((d + time.Second - 1) / time.Second)
		grace = &s
	}
	return m.override(req.GetObject(), func(r *Record) error {
		r.Overrides.Stopped, r.Overrides.GraceSeconds = true, grace
		r.Overrides.Paused = false
		return nil
	})
}

// Start implements api.Backend.
func (m *Manager) Start(_ context.Context, req *api.StartRequest) error {
	return m.override(req.GetObject(), func(r *Record) error {
		r.Overrides.Stopped, r.Overrides.GraceSeconds = false, nil
		r.Overrides.Paused = false
		r.Outcome = nil
		return nil
	})
}

// Restart implements api.Backend.
func (m *Manager) Restart(_ context.Context, req *api.RestartRequest) error {
	now := time.Now().UTC()
	return m.override(req.GetObject(), func(r *Record) error {
		r.Overrides.Stopped, r.Overrides.GraceSeconds = false, nil
		r.Overrides.Paused = false
		r.Overrides.RestartedAt = now
		r.Outcome = nil
		return nil
	})
}

// override changes what a user asked for beside the manifest, for good.
func (m *Manager) override(ref *api.Ref, change func(*Record) error) error {
	o, err := m.sandboxOf(ref)
	if err != nil {
		return err
	}
	if err := m.changeOverrides(o, change); err != nil {
		return err
	}
	// Looked at here and now, so that what the caller asks next is not answered
	// as if nothing had been asked for.
	_, err = m.reconcile(o.key)
	m.queue.Add(o.key)
	return err
}

func (m *Manager) changeOverrides(o *object, change func(*Record) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.record == nil:
		return fmt.Errorf("%s: %w: its manifest was not applied yet", o.key, drivers.ErrInvalidState)
	case o.record.DeletionTimestamp != nil:
		return fmt.Errorf("%s: %w: it is being removed", o.key, drivers.ErrInvalidState)
	case o.record.Owner != nil && o.record.Outcome != nil:
		return fmt.Errorf("%s: %w: it has run to its end for %s", o.key, drivers.ErrInvalidState, ownerKey(o.key.Namespace, o.record.Owner))
	}
	was := o.record
	next := *was
	if err := change(&next); err != nil {
		return err
	}
	if err := m.replaceRecord(o, &next); err != nil {
		return err
	}
	now := time.Now()
	if was.Outcome != nil && next.Outcome == nil {
		for _, c := range o.containers {
			c.stopped(drivers.ProcessStatus{}, now)
		}
	}
	if !next.Overrides.Stopped && !next.Overrides.Paused {
		o.tryAgain()
		if was.Overrides.Stopped || was.Outcome != nil || !was.Overrides.RestartedAt.Equal(next.Overrides.RestartedAt) {
			o.newStart(now)
		}
	}
	return nil
}

// tryAgain ends back-offs: a user who asks for something need not wait them out.
// o.mu is held.
func (o *object) tryAgain() {
	o.vmBackoff.reset()
	clear(o.failures)
	for _, c := range o.containers {
		c.backoff.reset()
	}
}

// waitFor waits until the API shows what is wanted of an object; nil means that
// there is none.
func (m *Manager) waitFor(ctx context.Context, key manifests.Key, fits func(*view) bool) error {
	w := m.hub.watch()
	defer m.hub.unwatch(w)
	for !fits(m.lookup(key)) {
		for {
			if _, _, ok := w.take(); !ok {
				break
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.life.Done():
			return fmt.Errorf("%s: %w: the daemon ends", key, context.Canceled)
		case <-w.wake:
		}
	}
	return nil
}

// takenIn waits a moment for what was written to the manifests to be taken in,
// so that what the caller asks next is answered accordingly. If it is not, the
// caller has to be told nothing: it will be.
func (m *Manager) takenIn(ctx context.Context, key manifests.Key, fits func(*view) bool) {
	ctx, cancel := context.WithTimeout(ctx, takenInTimeout)
	defer cancel()
	_ = m.waitFor(ctx, key, fits)
}

// takenInTimeout is ample for a look at the manifests.
const takenInTimeout = 3 * time.Second

// ConfirmPrune implements api.Backend.
func (m *Manager) ConfirmPrune(context.Context) (*api.ConfirmPruneResponse, error) {
	resp := &api.ConfirmPruneResponse{}
	m.mu.Lock()
	for _, key := range m.synced.held {
		m.synced.confirmed[key] = time.Now()
		resp.Pruned = append(resp.Pruned, key.String())
	}
	m.mu.Unlock()
	if len(resp.GetPruned()) > 0 {
		m.log.Info("the removal of held objects was confirmed", "objects", len(resp.GetPruned()))
		m.opts.Source.Resync()
	}
	return resp, nil
}
