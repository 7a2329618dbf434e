package reconciler

import (
	"context"
	"errors"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// updateLive makes what runs have the limits, resolver and host names of the
// manifest. With a runtime that cannot do so the sandbox is made anew instead.
func (m *Manager) updateLive(ctx context.Context, o *object) error {
	o.mu.Lock()
	inst, sandbox := o.instance, o.record.Sandbox
	o.mu.Unlock()
	if inst == nil {
		return nil // The world has changed: look again.
	}
	cctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := inst.Update(cctx, bundle.Live(sandbox))
	lacks := errors.Is(err, drivers.ErrUnsupported)
	if err != nil && !lacks {
		return fmt.Errorf("update what runs: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.instance != inst || o.record.Built == nil {
		return nil
	}
	next := *o.record
	if lacks {
		next.BuildHash = next.SpecHash
		m.event(o.key, eventNormal, "Recreating", "its limits, dnsConfig or hostAliases cannot be changed while it runs: %v; it is made anew", err)
	} else {
		built := *next.Built
		built.LiveHash = bundle.LiveHash(sandbox)
		next.Built = &built
		m.event(o.key, eventNormal, "Applied", "limits, dnsConfig and hostAliases are as the manifest says, while it runs")
	}
	return m.replaceRecord(o, &next)
}
