package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// crashTime is how long it may take to notice that the other side is gone.
const crashTime = 10 * time.Second

func killedRuntimeEndsEveryCall(s *suite) {
	s.need(drivers.CapabilityExec)
	sb := s.created(forever)
	if sb.Kill == nil {
		s.Skipf("the runtime is not a process that could be killed")
	}
	rt := sb.Runtime
	s.bootAndStart(sb)
	events, err := rt.Events(s.ctx)
	if err != nil {
		s.Fatalf("events: %v", err)
	}
	ended := make(chan error, 2)
	out := newWatched("ready")
	go func() {
		_, err := rt.Exec(s.ctx, s.opts.Container, sh("echo ready; sleep 1000"), drivers.Stdio{Stdout: out})
		ended <- err
	}()
	go func() {
		_, err := rt.Wait(s.ctx, s.opts.Container)
		ended <- err
	}()
	s.receive(out.seen, "the script is ready")
	if err := sb.Kill(); err != nil {
		s.Fatalf("%v", err)
	}
	over := time.NewTimer(crashTime)
	defer over.Stop()
	for range 2 {
		select {
		case err := <-ended:
			if err == nil || errors.Is(err, context.DeadlineExceeded) {
				s.Errorf("a call that was under way: %v, want an error at once", err)
			}
		case <-over.C:
			s.Fatalf("a call under way does not end with the runtime's process")
		}
	}
	s.within(crashTime, "the events end", func() bool {
		select {
		case _, ok := <-events:
			return !ok
		default:
			return false
		}
	})
	ctx, cancel := context.WithTimeout(s.ctx, crashTime)
	defer cancel()
	if _, err := rt.State(ctx); err == nil {
		s.Errorf("state of a runtime that was killed: no error")
	}
}

func lostClientKillsItsExecOnly(s *suite) {
	s.need(drivers.CapabilityExec)
	// Processes are counted: neither this one nor the one below has others that
	// come and go, or that nobody reaps.
	sb := s.created("sleep 1000")
	if sb.Reconnect == nil {
		s.Skipf("there is no connection that could be lost")
	}
	s.bootAndStart(sb)
	s.untilReady(sb.Runtime)
	var before uint64
	counted := s.info.Can(drivers.CapabilityStatistics)
	if counted {
		before = s.processes(sb.Runtime)
	}
	ended := make(chan error, 1)
	out := newWatched("ready")
	go func() {
		_, err := sb.Runtime.Exec(s.ctx, s.opts.Container, sh("echo ready; while :; do echo more; done"), drivers.Stdio{Stdout: out})
		ended <- err
	}()
	s.receive(out.seen, "the script is ready")
	again, err := sb.Reconnect(s.ctx)
	if err != nil {
		s.Fatalf("connect again: %v", err)
	}
	// The first connection is gone: this one ends the sandbox.
	s.Cleanup(func() { s.end(again) })
	select {
	case err := <-ended:
		if err == nil {
			s.Errorf("exec over a lost connection: no error")
		}
	case <-time.After(crashTime):
		s.Fatalf("exec over a lost connection does not return")
	}
	s.wantState(again, drivers.StateRunning)
	if exit, _, _ := s.exec(again, sh("exit 4"), nil); exit.Code != 4 {
		s.Errorf("exec after it: %s", codeOf(exit))
	}
	if counted {
		s.within(crashTime, "the lost client's process is gone", func() bool { return s.processes(again) <= before })
	}
	snap, err := again.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	if p, _ := snap.Process(s.opts.Container); p.State != drivers.ProcessRunning {
		s.Errorf("the init process is %s", p.State)
	}
}

// bootAndStart brings a sandbox up.
func (s *suite) bootAndStart(sb Sandbox) {
	s.Helper()
	if err := sb.Runtime.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	if err := sb.Runtime.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start the init process: %v", err)
	}
}
