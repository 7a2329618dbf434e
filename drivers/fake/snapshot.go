package fake

import (
	"context"
	"slices"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// State implements drivers.Runtime.
func (r *Runtime) State(ctx context.Context) (drivers.Snapshot, error) {
	if err := r.respond(ctx); err != nil {
		return drivers.Snapshot{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot(), nil
}

// snapshot copies what is known. The caller holds mu.
func (r *Runtime) snapshot() drivers.Snapshot {
	s := drivers.Snapshot{State: r.state, Reason: r.reason, Timeline: slices.Clone(r.timeline)}
	for _, p := range r.order {
		s.Processes = append(s.Processes, p.status())
	}
	switch r.state {
	case drivers.StateBooted, drivers.StateRunning, drivers.StatePaused, drivers.StateStopping:
		s.Machine = &drivers.Machine{Hypervisor: "fake", Type: "memory", KernelVersion: "0.0.0-fake", BootID: r.bootID}
	}
	return s
}

// Events implements drivers.Runtime.
func (r *Runtime) Events(ctx context.Context) (<-chan drivers.Snapshot, error) {
	if err := r.respond(ctx); err != nil {
		return nil, err
	}
	ch := make(chan drivers.Snapshot, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	ch <- r.snapshot()
	if r.state == drivers.StateShuttingDown {
		close(ch)
		return ch, nil
	}
	r.watchers[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, ok := r.watchers[ch]; ok {
			delete(r.watchers, ch)
			close(ch)
		}
	})
	return ch, nil
}

// publish puts a new snapshot in the place of one that a watcher has not taken
// yet. The caller holds mu, so nobody else puts one in.
func (r *Runtime) publish() {
	if len(r.watchers) == 0 {
		return
	}
	s := r.snapshot()
	for ch := range r.watchers {
		select {
		case <-ch:
		default:
		}
		ch <- s
	}
}

// Statistics implements drivers.Runtime: what a sandbox of this size might use.
func (r *Runtime) Statistics(ctx context.Context) (drivers.Statistics, error) {
	if err := r.respond(ctx); err != nil {
		return drivers.Statistics{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require("statistics", drivers.StateRunning); err != nil {
		return drivers.Statistics{}, err
	}
	const perProcess = 4 << 20
	now := time.Now()
	stats := drivers.Statistics{Time: now, Containers: map[string]drivers.ResourceUse{}}
	for _, c := range r.config.Containers {
		use := drivers.ResourceUse{MemoryLimitBytes: uint64(max(c.MemoryBytes, 0))}
		for _, p := range r.order {
			if p.container == c.Name && p.state == drivers.ProcessRunning {
				use.Processes++
				use.MemoryBytes += perProcess
				// One in a thousand of the time it has run.
				use.CPUUsec += uint64(now.Sub(p.startedAt).Microseconds() / 1000)
			}
		}
		stats.Containers[c.Name] = use
		stats.Sandbox.Processes += use.Processes
		stats.Sandbox.MemoryBytes += use.MemoryBytes
		stats.Sandbox.CPUUsec += use.CPUUsec
	}
	stats.Sandbox.MemoryLimitBytes = uint64(max(r.config.MemoryBytes, 0))
	return stats, nil
}
