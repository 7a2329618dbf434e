package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Logs implements api.Backend. Logs are read from the bundle: what a sandbox
// printed can be read after its end too.
func (m *Manager) Logs(ctx context.Context, req *api.LogsRequest, send func(data []byte) error) error {
	o, err := m.sandboxOf(req.GetObject())
	if err != nil {
		return err
	}
	path, err := o.logPath(req)
	if err != nil {
		return err
	}
	opts := crilog.ReadOptions{Follow: req.GetFollow(), Tail: req.GetTail()}
	if req.GetPrevious() {
		if opts.Since, opts.Until, err = o.previousRun(req); err != nil {
			return err
		}
		opts.Follow = false // nothing is added to it
	}
	if t := req.GetSince(); t != nil && t.AsTime().After(opts.Since) {
		opts.Since = t.AsTime()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if opts.Follow {
		// The log of an object that is removed gets no further lines.
		go func() {
			if m.waitFor(ctx, o.key, func(v *view) bool { return v == nil }) == nil {
				cancel(errRemoved)
			}
		}()
	}
	err = crilog.Read(ctx, path, opts, send)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // Nothing was printed yet.
	case errors.Is(context.Cause(ctx), errRemoved):
		return nil
	}
	return err
}

var errRemoved = errors.New("the object was removed")

// logPath returns the log that is asked for.
func (o *object) logPath(req *api.LogsRequest) (string, error) {
	if req.GetConsole() {
		return o.bundle.ConsoleLog(), nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record == nil {
		return "", fmt.Errorf("%s: %w: its manifest was not applied yet", o.key, drivers.ErrInvalidState)
	}
	var names []string
	for _, c := range o.record.Sandbox.AllContainers() {
		names = append(names, c.Name)
	}
	name := o.containerOf(req)
	if !slices.Contains(names, name) {
		return "", fmt.Errorf("%s: container %q: %w: there is %v", o.key, name, drivers.ErrNotFound, names)
	}
	return o.bundle.ProcessLog(name), nil
}

// containerOf returns the name of the container that is asked for. o.mu is held.
func (o *object) containerOf(req *api.LogsRequest) string {
	return cmp.Or(req.GetContainer(), o.record.Sandbox.DefaultContainer())
}

// previousRun returns when the run before a container's latest began and ended.
func (o *object) previousRun(req *api.LogsRequest) (since, until time.Time, err error) {
	if req.GetConsole() {
		return since, until, fmt.Errorf("%s: %w: the console's log is not parted into runs", o.key, drivers.ErrInvalidArgument)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	name := o.containerOf(req)
	c := o.containers.get(name)
	if c == nil || c.status.LastTerminationState.Terminated == nil {
		return since, until, fmt.Errorf("%s: container %q: %w: it had no run before", o.key, name, drivers.ErrNotFound)
	}
	last := c.status.LastTerminationState.Terminated
	// An end that was read from disk knows seconds only, and what was left of a last
	// line is written a moment after it.
	since, until = last.StartedAt.Time, last.FinishedAt.Add(time.Second)
	if run := c.status.State.Running; run != nil && run.StartedAt.Time.Before(until) {
		until = run.StartedAt.Time
	}
	return since, until, nil
}
