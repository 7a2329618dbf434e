package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// version may be set by the linker.
var version = "0.1.0"

// sandbox is the one sandbox of this process. What it does not write itself, it
// does not support.
type sandbox struct {
	drivers.Unsupported

	log  *slog.Logger
	life drivers.Life

	mu        sync.Mutex
	bundle    string
	config    drivers.Configuration
	data      runtimeData
	secrets   map[string][]byte
	processes map[string]*process
}

var _ drivers.Runtime = (*sandbox)(nil)

// runtimeData is what a manifest may say to this runtime alone.
type runtimeData struct {
	Share []string `json:"share"`
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "share": {
      "description": "Further directories of the host that containers see, read-only.",
      "type": "array",
      "items": {"type": "string", "pattern": "^/[^/]"}
    }
  }
}`

func (*sandbox) Info(context.Context) (drivers.Info, error) {
	return drivers.Info{
		Name:    "process",
		Version: version,
		Capabilities: []string{
			drivers.CapabilityContainers, drivers.CapabilityExec, drivers.CapabilityStatistics,
		},
		Platforms:         []string{"linux/" + runtime.GOARCH},
		RuntimeDataSchema: json.RawMessage(schema),
	}, nil
}

// Probe runs a process: whether the host lets a user make namespaces cannot be
// told otherwise.
func (*sandbox) Probe(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "runtime-process")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &process{stage: stage{Root: dir, Args: []string{"/bin/sh", "-c", "exit 0"}}, first: make(chan struct{})}
	if err := p.start(nil, nil, nil); err != nil {
		return fmt.Errorf("%w: a process in a user namespace: %w: allow them (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)",
			drivers.ErrUnavailable, err)
	}
	_, err = p.run.wait(ctx)
	return err
}

func (s *sandbox) Bootstrap(_ context.Context, req drivers.BootstrapRequest) error {
	if err := s.life.Update("bootstrap", func(sn *drivers.Snapshot) { sn.Pass(drivers.StageBootstrap) }, drivers.StateCreated); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.prepare(req); err != nil {
		err = fmt.Errorf("bootstrap: %w", err)
		_ = s.life.Update("", func(sn *drivers.Snapshot) { sn.State, sn.Reason = drivers.StateStopped, err.Error() })
		return err
	}
	return s.life.Update("bootstrap", func(sn *drivers.Snapshot) {
		for _, name := range []string{drivers.StageVMStarted, drivers.StageAgentUp, drivers.StageBooted} {
			sn.Pass(name)
		}
		for _, c := range s.config.Containers {
			sn.SetProcess(s.processes[c.Name].status)
		}
		sn.State = drivers.StateBooted
	}, drivers.StateCreated)
}

// prepare reads what the sandbox is to be. What cannot be done is refused, never
// left out silently.
func (s *sandbox) prepare(req drivers.BootstrapRequest) error {
	config, err := drivers.ReadConfiguration(req.Bundle)
	if err != nil {
		return err
	}
	if len(config.RuntimeData) > 0 {
		if err := json.Unmarshal(config.RuntimeData, &s.data); err != nil {
			return fmt.Errorf("%w: runtimeData: %w", drivers.ErrInvalidArgument, err)
		}
	}
	switch {
	case config.NestedVirtualization, len(config.Volumes) > 0, len(config.Sysctls) > 0, len(config.HostAliases) > 0:
		return fmt.Errorf("%w: this runtime has no nested virtualization, volumes, sysctls and host aliases", drivers.ErrInvalidArgument)
	}
	s.bundle, s.config, s.secrets = req.Bundle, config, req.Secrets
	for _, c := range config.Containers {
		if c.ReadOnlyRootfs || c.CPUMillis > 0 || c.MemoryBytes > 0 {
			return fmt.Errorf("%w: container %s: this runtime has no read-only root and no limits", drivers.ErrInvalidArgument, c.Name)
		}
		if err := s.add(c.Name, c.Name, c.Process, true); err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
	}
	return nil
}

// add registers a process. The caller holds mu.
func (s *sandbox) add(id, container string, spec drivers.ProcessSpec, isInit bool) error {
	if s.processes[id] != nil {
		return fmt.Errorf("%w: process id %q is in use", drivers.ErrInvalidArgument, id)
	}
	p, err := s.newProcess(id, container, spec)
	if err != nil {
		return err
	}
	p.isInit = isInit
	s.processes[id] = p
	return nil
}

func (s *sandbox) CreateProcess(_ context.Context, id, container string, spec drivers.ProcessSpec) error {
	if err := s.life.Require("create process", drivers.StateBooted, drivers.StateRunning); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.add(id, container, spec, false); err != nil {
		return fmt.Errorf("create process: %w", err)
	}
	s.publish(s.processes[id])
	return nil
}

func (s *sandbox) StartProcess(_ context.Context, id string) error {
	if err := s.life.Require("start process", drivers.StateBooted, drivers.StateRunning); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.process(id)
	if err != nil {
		return err
	}
	if p.status.State == drivers.ProcessRunning || p.status.State == drivers.ProcessExited && !p.isInit {
		return fmt.Errorf("start process %s: %w: it is %s", id, drivers.ErrInvalidState, p.status.State)
	}
	log, err := drivers.OpenLog(s.bundle, id)
	if err != nil {
		return err
	}
	if err := p.start(nil, log.Stdout(), log.Stderr()); err != nil {
		return errors.Join(fmt.Errorf("start process %s: %w", id, err), log.Close())
	}
	s.publish(p)
	r := p.run
	go func() {
		<-r.done
		_ = log.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.run == r {
			s.publish(p)
		}
	}()
	return s.life.Update("start process", func(sn *drivers.Snapshot) {
		if sn.State == drivers.StateBooted && p.isInit {
			sn.Pass(drivers.StageRunning)
			sn.State = drivers.StateRunning
		}
	})
}

func (s *sandbox) Exec(ctx context.Context, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	if err := s.life.Require("exec", drivers.StateRunning); err != nil {
		return drivers.ExitStatus{}, err
	}
	s.mu.Lock()
	p, err := s.newProcess("", container, spec)
	if err != nil {
		s.mu.Unlock()
		return drivers.ExitStatus{}, fmt.Errorf("exec: %w", err)
	}
	if err := p.start(stdio.Stdin, stdio.Stdout, stdio.Stderr); err != nil {
		s.mu.Unlock()
		return drivers.ExitStatus{}, fmt.Errorf("exec: %w", err)
	}
	// On the list, so that it ends with the sandbox.
	key := fmt.Sprintf("exec %p", p)
	s.processes[key] = p
	r := p.run
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.processes, key)
	}()
	for {
		select {
		case <-r.done:
			return r.exit, nil
		case <-ctx.Done():
			r.kill()
			<-r.done
			return drivers.ExitStatus{}, ctx.Err()
		case n := <-stdio.Signals:
			r.signal(n)
		}
	}
}

func (s *sandbox) Kill(_ context.Context, id string, signal int) error {
	if err := s.life.Require("kill", drivers.StateRunning); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.process(id)
	if err != nil {
		return err
	}
	if signal < 1 || signal > 64 {
		return fmt.Errorf("kill: %w: there is no signal %d", drivers.ErrInvalidArgument, signal)
	}
	if p.run != nil {
		p.run.signal(signal)
	}
	return nil
}

func (s *sandbox) Wait(ctx context.Context, id string) (drivers.ExitStatus, error) {
	s.mu.Lock()
	p, err := s.process(id)
	s.mu.Unlock()
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	// A process that is never started ends with the sandbox.
	select {
	case <-p.first:
	case <-ctx.Done():
		return drivers.ExitStatus{}, ctx.Err()
	}
	s.mu.Lock()
	r := p.run
	s.mu.Unlock()
	return r.wait(ctx)
}

func (s *sandbox) Stop(ctx context.Context, opts drivers.StopOptions) error {
	err := s.life.Update("stop", func(sn *drivers.Snapshot) { sn.State = drivers.StateStopping }, drivers.StateBooted, drivers.StateRunning)
	if err != nil {
		return nil // there is nothing to stop
	}
	s.mu.Lock()
	var all []*process
	for _, p := range s.processes {
		if p.status.State == drivers.ProcessCreated {
			p.neverRan()
			s.publish(p)
			continue
		}
		all = append(all, p)
		if p.isInit {
			p.run.signal(s.stopSignal(opts, p))
		}
	}
	s.mu.Unlock()
	grace := time.NewTimer(opts.GracePeriod)
	defer grace.Stop()
	over := false
	for _, p := range all {
		if !p.isInit || over {
			continue
		}
		select {
		case <-p.run.done:
		case <-grace.C:
			over = true
		case <-ctx.Done():
			over = true
		}
	}
	for _, p := range all {
		p.run.kill()
		<-p.run.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range all {
		s.publish(p)
	}
	return s.life.Update("stop", func(sn *drivers.Snapshot) { sn.State = drivers.StateStopped })
}

func (s *sandbox) stopSignal(opts drivers.StopOptions, p *process) int {
	if opts.Signal != 0 {
		return opts.Signal
	}
	for _, c := range s.config.Containers {
		if c.Name == p.status.Container && c.StopSignal != 0 {
			return c.StopSignal
		}
	}
	return int(syscall.SIGTERM)
}

func (s *sandbox) State(context.Context) (drivers.Snapshot, error) { return s.life.Snapshot(), nil }

func (s *sandbox) Events(ctx context.Context) (<-chan drivers.Snapshot, error) {
	return s.life.Events(ctx), nil
}

func (s *sandbox) Shutdown(context.Context) error {
	err := s.life.Update("shut down", func(sn *drivers.Snapshot) { sn.State = drivers.StateShuttingDown },
		drivers.StateCreated, drivers.StateStopped)
	if err == nil {
		s.life.End()
	}
	return err
}

// process returns a registered process. The caller holds mu.
func (s *sandbox) process(id string) (*process, error) {
	if p := s.processes[id]; p != nil && p.status.ID == id {
		return p, nil
	}
	return nil, fmt.Errorf("process %q: %w", id, drivers.ErrNotFound)
}

// publish shows the state of a process. The caller holds mu.
func (s *sandbox) publish(p *process) {
	p.look()
	if p.status.ID == "" {
		return
	}
	_ = s.life.Update("", func(sn *drivers.Snapshot) { sn.SetProcess(p.status) }) // allowed in any state
}

// newProcess checks a process that is to run in a container. The caller holds mu.
func (s *sandbox) newProcess(id, container string, spec drivers.ProcessSpec) (*process, error) {
	found := false
	for _, c := range s.config.Containers {
		found = found || c.Name == container
	}
	switch {
	case !found:
		return nil, fmt.Errorf("container %q: %w", container, drivers.ErrNotFound)
	case len(spec.Args) == 0:
		return nil, fmt.Errorf("%w: no command", drivers.ErrInvalidArgument)
	case spec.Terminal:
		return nil, fmt.Errorf("a terminal: %w by this runtime", drivers.ErrUnsupported)
	case spec.User != "" && spec.User != "root" && spec.User != "0" && spec.User != "0:0", len(spec.SupplementalGroups) > 0:
		return nil, fmt.Errorf("%w: user %q: this runtime has root only, who is you outside", drivers.ErrInvalidArgument, spec.User)
	}
	st := stage{
		Root: filepath.Join(s.bundle, "root", container), Share: s.data.Share,
		Hostname: s.config.Hostname, Args: spec.Args, Dir: spec.WorkingDir,
	}
	for _, e := range spec.Env {
		value := e.Value
		if e.Secret != "" {
			secret, ok := s.secrets[e.Secret]
			if !ok {
				return nil, fmt.Errorf("%w: variable %s: there is no secret %q", drivers.ErrInvalidArgument, e.Name, e.Secret)
			}
			value = string(secret)
		}
		st.Env = append(st.Env, e.Name+"="+value)
	}
	return &process{
		stage:  st,
		status: drivers.ProcessStatus{ID: id, Container: container, State: drivers.ProcessCreated},
		first:  make(chan struct{}),
	}, nil
}
