//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// process is a running process that the host started.
type process struct {
	*child
	// init says that it is a container's init process: everything in the
	// container ends with it.
	init bool
}

// signal sends a signal by its Linux number.
func (p *process) signal(sig int) error {
	if sig < 1 || sig > 64 {
		return fmt.Errorf("%w: signal %d", drivers.ErrInvalidArgument, sig)
	}
	return p.child.signal(sig, false)
}

func (p *process) kill() { _ = p.child.signal(int(unix.SIGKILL), !p.init) }

// run starts a process, carries its stdio, and returns how it ended. When ctx
// is cancelled the process is killed.
func (g *guest) run(ctx context.Context, id, container string, spec drivers.ProcessSpec, stdio drivers.Stdio, started func(pid int, at time.Time)) (drivers.ExitStatus, error) {
	c, err := g.claim(id, container)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	defer g.release(id)

	streams, err := newStreams(stdio, spec.Terminal)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	defer streams.close()
	before := oomKills(c.cgroup)
	p, err := g.start(c, id, spec, streams)
	if err != nil {
		return drivers.ExitStatus{}, fmt.Errorf("container %q: %w", container, err)
	}
	if err := g.announce(id, p); err != nil {
		p.kill()
		<-p.done
		c.stopped(p.pid)
		return drivers.ExitStatus{}, err
	}
	started(p.pid, time.Now())
	g.accompany(ctx, p, stdio, streams)
	if p.init {
		c.stopped(p.pid)
	}
	exit := exitStatus(p.status, time.Now())
	exit.OOMKilled = exit.Code != 0 && oomKills(c.cgroup) > before
	streams.finish(ctx)
	return exit, ctx.Err()
}

// claim takes a process id, which nothing else has as long as it is taken.
func (g *guest) claim(id, container string) (*container, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.in("run", phaseConfigured); err != nil {
		return nil, err
	}
	c := g.containers[container]
	if c == nil {
		return nil, fmt.Errorf("%w: container %q", drivers.ErrNotFound, container)
	}
	if _, taken := g.processes[id]; taken || id == "" {
		return nil, fmt.Errorf("%w: a process %q is running already", drivers.ErrInvalidArgument, id)
	}
	g.processes[id] = nil
	return c, nil
}

func (g *guest) release(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.processes, id)
}

// announce lets others find the process, unless the end has begun meanwhile.
func (g *guest) announce(id string, p *process) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.in("run", phaseConfigured); err != nil {
		return err
	}
	g.processes[id] = p
	return nil
}

func (g *guest) start(c *container, id string, spec drivers.ProcessSpec, s *streams) (*process, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	ps, err := newProcessSpec(spec, hostname)
	if err != nil {
		return nil, err
	}
	if id == c.name {
		return g.startContainer(c, ps, s)
	}
	init, err := c.running()
	if err != nil {
		return nil, err
	}
	if ps.Capabilities == nil {
		ps.Capabilities = init.capabilities
	}
	child, master, err := g.startJoined(c, init, ps, s.theirs)
	if err != nil {
		return nil, err
	}
	s.started(master)
	return &process{child: child}, nil
}

func (g *guest) startContainer(c *container, spec processSpec, s *streams) (*process, error) {
	if spec.Capabilities == nil {
		spec.Capabilities = defaultCapabilities()
	}
	init, master, err := g.startInit(c, spec, s.theirs)
	if err != nil {
		return nil, err
	}
	s.started(master)
	c.mu.Lock()
	c.init = init
	c.mu.Unlock()
	return &process{child: init.child, init: true}, nil
}

// stopped forgets the container's init process, which has exited.
func (c *container) stopped(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.init != nil && c.init.pid == pid {
		unix.Close(c.init.pidfd)
		c.init = nil
	}
}

// accompany passes signals and sizes on until the process has exited.
func (g *guest) accompany(ctx context.Context, p *process, stdio drivers.Stdio, s *streams) {
	for {
		select {
		case <-p.done:
			return
		case <-ctx.Done():
			p.kill()
			<-p.done
			return
		case sig := <-stdio.Signals:
			if err := p.signal(sig); err != nil && !errors.Is(err, drivers.ErrNotFound) {
				g.log.Warn("signal not sent", "pid", p.pid, "error", err)
			}
		case size := <-stdio.Resize:
			s.resize(size)
		}
	}
}

// exitStatus reads a wait status.
func exitStatus(status unix.WaitStatus, at time.Time) drivers.ExitStatus {
	exit := drivers.ExitStatus{Code: status.ExitStatus(), FinishedAt: at}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
		exit.Code = 128 + exit.Signal
	}
	return exit
}
