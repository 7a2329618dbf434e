package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
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
