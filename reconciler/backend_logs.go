package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Logs implements api.Backend. Logs are read from the bundle: what a sandbox
// printed can be read after its end too.
func (m *Manager) Logs(ctx context.Context, req *api.LogsRequest, send func(data []byte) error) error {
	o, err := m.sandbox(req.GetObject())
	if err != nil {
		return err
	}
	path, err := o.logPath(req)
	if err != nil {
		return err
	}
	opts := crilog.ReadOptions{Follow: req.GetFollow(), Tail: req.GetTail()}
	if req.GetSince() != nil {
		opts.Since = req.GetSince().AsTime()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if req.GetFollow() {
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
	for _, c := range o.spec().PodTemplate.Spec.Containers {
		names = append(names, c.Name)
	}
	name := req.GetContainer()
	if name == "" {
		name = names[0]
	}
	if !slices.Contains(names, name) {
		return "", fmt.Errorf("%s: container %q: %w: there is %v", o.key, name, drivers.ErrNotFound, names)
	}
	return o.bundle.ProcessLog(name), nil
}
