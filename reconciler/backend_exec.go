package reconciler

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Exec implements api.Backend. The process gets the container's environment,
// user and directory unless the request says otherwise. The runtime does not
// tell its number.
func (m *Manager) Exec(ctx context.Context, req *api.ExecStart, stdio drivers.Stdio,
	started func(pid int, at time.Time),
) (drivers.ExitStatus, error) {
	o, inst, err := m.running(req.GetObject())
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	if len(req.GetArgs()) == 0 {
		return drivers.ExitStatus{}, fmt.Errorf("%w: say what to run", drivers.ErrInvalidArgument)
	}
	c, err := o.configuredContainer(req.GetContainer())
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	spec := drivers.ProcessSpec{
		Args: req.GetArgs(), Env: c.Process.Env, WorkingDir: c.Process.WorkingDir, User: c.Process.User,
		SupplementalGroups: c.Process.SupplementalGroups, NoNewPrivileges: c.Process.NoNewPrivileges,
		Terminal: req.GetTerminal(), TerminalSize: wire.ToSize(req.GetTerminalSize()),
	}
	for _, e := range req.GetEnv() {
		spec.Env = setEnv(spec.Env, e.GetName(), e.GetValue())
	}
	if req.GetUser() != "" {
		spec.User, spec.SupplementalGroups = req.GetUser(), nil
	}
	if req.GetWorkingDir() != "" {
		spec.WorkingDir = req.GetWorkingDir()
	}
	once := sync.OnceFunc(func() { started(0, time.Now()) })
	stdio.Stdout, stdio.Stderr = firstWrite(stdio.Stdout, once), firstWrite(stdio.Stderr, once)
	exit, err := inst.Exec(ctx, c.Name, spec, stdio)
	if err == nil {
		once()
	}
	return exit, err
}

// Attach implements api.Backend.
func (m *Manager) Attach(ctx context.Context, req *api.AttachStart, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	o, inst, err := m.running(req.GetObject())
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	c, err := o.configuredContainer(req.GetContainer())
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	return inst.Attach(ctx, c.Name, stdio)
}

// firstWrite calls begin before anything is written to w.
func firstWrite(w io.Writer, begin func()) io.Writer {
	if w == nil {
		return nil
	}
	return writerFunc(func(p []byte) (int, error) {
		begin()
		return w.Write(p)
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// setEnv returns the variables with one set anew. The given ones are left as
// they are.
func setEnv(env []drivers.EnvVar, name, value string) []drivers.EnvVar {
	out := make([]drivers.EnvVar, 0, len(env)+1)
	for _, e := range env {
		if e.Name != name {
			out = append(out, e)
		}
	}
	return append(out, drivers.EnvVar{Name: name, Value: value})
}

// configuredContainer returns a container as the VM was made with it; an empty
// name means the default one.
func (o *object) configuredContainer(name string) (drivers.Container, error) {
	if name == "" {
		o.mu.Lock()
		if o.record != nil {
			name = o.record.Sandbox.DefaultContainer()
		}
		o.mu.Unlock()
	}
	var cfg drivers.Configuration
	if err := state.ReadJSON(o.bundle.ConfigurationFile(), &cfg); err != nil {
		return drivers.Container{}, fmt.Errorf("%s: %w", o.key, err)
	}
	names := make([]string, 0, len(cfg.Containers))
	for _, c := range cfg.Containers {
		if name == "" || c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return drivers.Container{}, fmt.Errorf("%s: container %q: %w: there is %v", o.key, name, drivers.ErrNotFound, names)
}
