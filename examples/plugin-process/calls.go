package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
)

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
