package linuxvm

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

const (
	// killGrace is how long processes may take to die of SIGKILL, the agent to
	// answer Shutdown, and the machine to end after that: 5 s each, then power off.
	killGrace = 5 * time.Second
)

// Stop ends the sandbox. Once begun it is carried through: a caller that no
// longer waits does not stop it.
func (s *sandbox) Stop(ctx context.Context, opts drivers.StopOptions) error {
	s.mu.Lock()
	paused := s.state == drivers.StatePaused
	ending := s.ending // by itself: there is nothing to do but to wait for it
	if !ending && !s.apply(eventStop) {
		s.mu.Unlock()
		return nil
	}
	v := s.vm
	s.mu.Unlock()

	if !ending {
		go s.stop(v, opts, paused)
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop is the way from stopping to stopped.
func (s *sandbox) stop(v *vm, opts drivers.StopOptions, paused bool) {
	defer s.end(v, "")
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	// A machine that ends by itself ends all waiting for its agent.
	go func() {
		select {
		case <-v.machine.Exited():
			cancel()
		case <-ctx.Done():
		}
	}()
	s.endCapture()
	if paused {
		resume, release := context.WithTimeout(ctx, callTimeout)
		err := v.machine.Resume(resume)
		release()
		if err != nil {
			s.log.WarnContext(ctx, "a paused sandbox does not resume to be stopped, powering it off", "error", err)
			return
		}
	}
	grace, release := context.WithTimeout(ctx, max(opts.GracePeriod, 0))
	s.signalInits(grace, v, func(ct drivers.Container) int {
		switch {
		case opts.Signal != 0:
			return opts.Signal
		case ct.StopSignal != 0:
			return ct.StopSignal
		default:
			return int(syscall.SIGTERM)
		}
	})
	release()
	last, release := context.WithTimeout(ctx, killGrace)
	s.signalInits(last, v, func(drivers.Container) int { return int(syscall.SIGKILL) })
	release()

	off, release := context.WithTimeout(ctx, killGrace)
	defer release()
	if _, err := v.client.agent.Shutdown(off, &agentpb.ShutdownRequest{}); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "the guest does not shut down, powering it off", "error", err)
		return
	}
	gone := time.NewTimer(killGrace)
	defer gone.Stop()
	select {
	case <-v.machine.Exited():
	case <-gone.C:
	}
}

// signalInits sends each running init process its signal, all at once, and
// waits until they have exited or ctx ends.
func (s *sandbox) signalInits(ctx context.Context, v *vm, signal func(drivers.Container) int) {
	if ctx.Err() != nil {
		return
	}
	var wg sync.WaitGroup
	for _, ct := range v.config.Containers {
		s.mu.Lock()
		p := s.processes[ct.Name]
		r, runs := p.run, p.state == drivers.ProcessRunning
		s.mu.Unlock()
		if !runs {
			continue
		}
		wg.Go(func() {
			if err := v.signal(ctx, ct.Name, signal(ct), callTimeout); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "cannot signal a process", "process", ct.Name, "error", err)
			}
			select {
			case <-r.done:
			case <-ctx.Done():
			}
		})
	}
	wg.Wait()
}
