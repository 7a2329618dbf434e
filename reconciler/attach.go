package reconciler

import (
	"context"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
)

// attachTo makes an instance the object's and watches it. o.mu is held.
func (m *Manager) attachTo(o *object, inst Instance, snap drivers.Snapshot) {
	m.detachFrom(o)
	ctx, cancel := context.WithCancel(m.life)
	o.attach, o.instance, o.detach, o.snapshot, o.lostWhy = AttachUp, inst, cancel, snap, ""
	m.spawn(func() {
		defer cancel()
		m.watchInstance(ctx, o, inst)
	})
}

// detachFrom lets go of the object's instance, if it has one. o.mu is held.
func (m *Manager) detachFrom(o *object) {
	if o.instance == nil {
		return
	}
	o.detach()
	o.instance.Detach()
	o.instance, o.detach = nil, nil
	o.snapshot.State = ""
}

// watchInstance looks at the instance whenever it says that something changed,
// until its process is gone.
func (m *Manager) watchInstance(ctx context.Context, o *object, inst Instance) {
	for ctx.Err() == nil {
		changes, err := inst.Events(ctx)
		if err != nil {
			m.log.Debug("watch a plugin process", "object", o.key.String(), "error", err)
		}
		m.follow(ctx, o, inst, changes)
		select {
		case <-ctx.Done():
			return
		case <-inst.Done():
			m.lose(o, inst)
			return
		case <-time.After(firstDelay): // The stream broke, the process did not: try again.
			m.refresh(ctx, o, inst)
			m.queue.Add(o.key)
		}
	}
}

// follow takes in changes until there are no more.
func (m *Manager) follow(ctx context.Context, o *object, inst Instance, changes <-chan drivers.Snapshot) {
	if changes == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-inst.Done():
			return
		case _, ok := <-changes:
			if !ok {
				return
			}
			m.refresh(ctx, o, inst)
			m.queue.Add(o.key)
		}
	}
}

// refresh asks the instance for its state. What a change carries is not used:
// it may be older than the answer to a call made meanwhile, whereas answers that
// are fetched one after the other cannot be out of order.
func (m *Manager) refresh(ctx context.Context, o *object, inst Instance) {
	// Also at the end of a step that was given up it must be known how things are.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rpcTimeout)
	defer cancel()
	select {
	case o.refreshing <- struct{}{}:
		defer func() { <-o.refreshing }()
	case <-ctx.Done():
		return
	}
	snap, err := inst.State(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.instance != inst, err != nil && o.ending:
		// It was let go of meanwhile, or ends as it is meant to: this is no news.
	case err != nil:
		m.log.Debug("ask a plugin process for its state", "object", o.key.String(), "error", err)
	default:
		o.snapshot = snap
	}
}

// mostTakeOvers is how often a plugin process is launched to take a VM over
// before that is given up, and the VM with it.
const mostTakeOvers = 3

// survivor reports whether the VM has outlived its plugin process. o.mu is held.
func (o *object) survivor() bool {
	alone := o.attach == AttachLost || o.attach == AttachUp && o.snapshot.State == drivers.StateCreated
	if !alone || o.record == nil || o.record.Built == nil || !o.record.Hypervisor.Alive() {
		return false
	}
	f := o.failures[ActLaunch]
	return f == nil || f.tries < mostTakeOvers
}

// lose notes that the plugin process is gone.
func (m *Manager) lose(o *object, inst Instance) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.instance != inst {
		return
	}
	if !o.ending && (o.op == nil || o.op.action.Verb != ActShutdown) {
		m.opts.Metrics.AddDrift(metrics.DriftPlugin)
	}
	m.detachFrom(o)
	o.attach, o.lostWhy = AttachLost, "the plugin process ended"
	m.queue.Add(o.key)
}
