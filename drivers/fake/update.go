package fake

import (
	"context"
	"fmt"
	"slices"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Update implements drivers.Runtime.
func (r *Runtime) Update(ctx context.Context, live drivers.Live) error {
	const op = "update"
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateBooted, drivers.StateRunning); err != nil {
		return err
	}
	if r.faults.UpdateError != "" {
		return fmt.Errorf("%s: %w: %s", op, drivers.ErrExhausted, r.faults.UpdateError)
	}
	containers := slices.Clone(r.config.Containers)
	for _, l := range live.Limits {
		i := slices.IndexFunc(containers, func(c drivers.Container) bool { return c.Name == l.Container })
		if i < 0 {
			return fmt.Errorf("%s: container %q: %w", op, l.Container, drivers.ErrNotFound)
		}
		containers[i].CPUMillis, containers[i].MemoryBytes = l.CPUMillis, l.MemoryBytes
	}
	r.config.Containers, r.config.DNS, r.config.HostAliases = containers, live.DNS, live.HostAliases
	return nil
}

// Live returns what the sandbox has now of what can change.
func (r *Runtime) Live() drivers.Live {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.config.Live()
}

// SetFaults changes what goes wrong from now on.
func (r *Runtime) SetFaults(f Faults) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = f
}
