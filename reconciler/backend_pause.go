package reconciler

import (
	"context"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Pause implements api.Backend.
func (m *Manager) Pause(_ context.Context, req *api.PauseRequest) error {
	return m.override(req.GetObject(), func(r *Record) error {
		switch {
		case r.Overrides.Stopped:
			return fmt.Errorf("%s: %w: it is held stopped; \"vzctl start\" lets it run again", r.Key, drivers.ErrInvalidState)
		case r.Sandbox.Spec.OperatingMode == manifests.OperatingModeSuspended:
			return fmt.Errorf("%s: %w: its manifest says operatingMode: Suspended", r.Key, drivers.ErrInvalidState)
		case r.Outcome != nil:
			return fmt.Errorf("%s: %w: it has ended", r.Key, drivers.ErrInvalidState)
		}
		r.Overrides.Paused = true
		return nil
	})
}

// Resume implements api.Backend. What is not paused is as it should be.
func (m *Manager) Resume(_ context.Context, req *api.ResumeRequest) error {
	return m.override(req.GetObject(), func(r *Record) error {
		if r.Sandbox.Spec.OperatingMode == manifests.OperatingModePaused {
			return fmt.Errorf("%s: %w: its manifest says operatingMode: Paused, which only an edit changes", r.Key, drivers.ErrInvalidState)
		}
		r.Overrides.Paused = false
		return nil
	})
}

// Kill implements api.Backend.
func (m *Manager) Kill(ctx context.Context, req *api.KillRequest) error {
	o, inst, err := m.running(req.GetObject())
	if err != nil {
		return err
	}
	c, err := o.configuredContainer(req.GetContainer())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	if err := inst.Kill(ctx, c.Name, int(req.GetSignal())); err != nil {
		return fmt.Errorf("%s: %w", o.key, err)
	}
	return nil
}
