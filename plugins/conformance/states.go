package conformance

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// refused fails the check for each call that did not end with ErrInvalidState,
// or with ErrUnsupported where the runtime does not have it in any state.
func (s *suite) refused(state drivers.State, calls map[string]error) {
	s.Helper()
	for name, err := range calls {
		if !errors.Is(err, drivers.ErrInvalidState) && !s.mayLack(name, err) {
			s.Errorf("%s in state %s: %v, want an invalid state", name, state, err)
		}
	}
}

// onlyRunning makes the calls that need a running sandbox.
func (s *suite) onlyRunning(rt drivers.Runtime) map[string]error {
	_, execErr := rt.Exec(s.ctx, s.opts.Container, sh("true"), drivers.Stdio{})
	_, statsErr := rt.Statistics(s.ctx)
	return map[string]error{
		"exec":       execErr,
		"statistics": statsErr,
		"kill":       rt.Kill(s.ctx, s.opts.Container, 15),
		"resize":     rt.Resize(s.ctx, s.opts.Container, drivers.TerminalSize{Width: 80, Height: 24}),
		"pause":      rt.Pause(s.ctx),
	}
}

func createdAllowsOnlyBootstrap(s *suite) {
	rt := s.created(forever).Runtime
	s.wantState(rt, drivers.StateCreated)
	s.refused(drivers.StateCreated, s.onlyRunning(rt))
	s.refused(drivers.StateCreated, map[string]error{
		"create process": rt.CreateProcess(s.ctx, "p", s.opts.Container, sh("true")),
		"start process":  rt.StartProcess(s.ctx, s.opts.Container),
		"resume":         rt.Resume(s.ctx),
	})
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Errorf("stop in state created: %v, want a silent success", err)
	}
	s.wantState(rt, drivers.StateCreated)
	info, err := rt.Info(s.ctx)
	if err != nil || info.Name == "" || info.Version == "" || len(info.Platforms) == 0 {
		s.Errorf("info: %+v, %v", info, err)
	}
	if err := rt.Shutdown(s.ctx); err != nil {
		s.Errorf("shutdown in state created: %v", err)
	}
}

func bootstrapFailureEndsStopped(s *suite) {
	rt := s.created(forever).Runtime
	if err := rt.Bootstrap(s.ctx, drivers.BootstrapRequest{Bundle: "/nonexistent"}); err == nil {
		s.Errorf("bootstrap from a directory that is not there: no error")
	}
	s.wantState(rt, drivers.StateStopped)
}

func bootstrapOnlyOnce(s *suite) {
	sb := s.created(forever)
	if err := sb.Runtime.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	s.wantState(sb.Runtime, drivers.StateBooted)
	s.refused(drivers.StateBooted, map[string]error{
		"bootstrap": sb.Runtime.Bootstrap(s.ctx, sb.Request),
		"shutdown":  sb.Runtime.Shutdown(s.ctx),
	})
	s.refused(drivers.StateBooted, s.onlyRunning(sb.Runtime))
}

func startOfInitMovesToRunning(s *suite) {
	rt := s.booted(forever)
	snap, err := rt.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	if p, ok := snap.Process(s.opts.Container); !ok || p.State != drivers.ProcessCreated || p.Container != s.opts.Container {
		s.Errorf("init process before its start: %+v, want it created", p)
	}
	// A runtime that is no VM has no machine.
	if snap.Machine != nil && (snap.Machine.Hypervisor == "" || snap.Machine.BootID == "") {
		s.Errorf("machine: %+v, want one with a hypervisor and a boot id", snap.Machine)
	}
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start: %v", err)
	}
	if snap, err = rt.State(s.ctx); err != nil {
		s.Fatalf("state: %v", err)
	}
	if p, _ := snap.Process(s.opts.Container); snap.State != drivers.StateRunning || p.State != drivers.ProcessRunning || p.StartedAt.IsZero() {
		s.Errorf("after the start: sandbox %s, init process %+v", snap.State, p)
	}
	var stages []string
	for _, st := range snap.Timeline {
		stages = append(stages, st.Name)
	}
	want := []string{drivers.StageBootstrap, drivers.StageVMStarted, drivers.StageAgentUp, drivers.StageBooted, drivers.StageRunning}
	if !slices.Equal(stages, want) {
		s.Errorf("timeline %v, want %v", stages, want)
	}
	if !slices.IsSortedFunc(snap.Timeline, func(a, b drivers.Stage) int { return a.Time.Compare(b.Time) }) {
		s.Errorf("timeline is not in order: %v", snap.Timeline)
	}
	if err := rt.StartProcess(s.ctx, s.opts.Container); err == nil {
		s.Errorf("start of a running process: no error")
	}
}

func stopLetsInitEnd(s *suite) {
	rt := s.running(forever)
	s.untilReady(rt)
	begin := time.Now()
	if err := rt.Stop(s.ctx, drivers.StopOptions{GracePeriod: 30 * time.Second}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	if took := time.Since(begin); took > 25*time.Second {
		s.Errorf("stop took %s although the process ends at once", took)
	}
	s.wantState(rt, drivers.StateStopped)
	if exit := s.wait(rt, s.opts.Container); exit.Code != 7 || exit.Signal != 0 {
		s.Errorf("exit %s, want the process's own code 7", codeOf(exit))
	}
}

// untilReady returns when the init process has set its trap.
func (s *suite) untilReady(rt drivers.Runtime) {
	s.Helper()
	// The trap is set within moments of the start; nothing in the contract tells
	// of it, so a round trip through a second process stands in for that.
	const id = "settle"
	if err := rt.CreateProcess(s.ctx, id, s.opts.Container, sh("sleep 0.3")); err != nil {
		s.Fatalf("create: %v", err)
	}
	if err := rt.StartProcess(s.ctx, id); err != nil {
		s.Fatalf("start: %v", err)
	}
	s.wait(rt, id)
}

func stopKillsAfterGrace(s *suite) {
	// As PID 1 it has no action for SIGTERM; elsewhere the trap is of no avail either.
	rt := s.running("trap '' TERM; while :; do sleep 0.1; done")
	s.untilReady(rt)
	const grace = 2 * time.Second
	begin := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- rt.Stop(s.ctx, drivers.StopOptions{GracePeriod: grace}) }()
	s.within(10*time.Second, "state stopping", func() bool {
		snap, err := rt.State(s.ctx)
		return err == nil && snap.State == drivers.StateStopping
	})
	// A stop that waits out its grace period holds up neither State nor Wait.
	if took := time.Since(begin); took >= grace {
		s.Errorf("state took %s while stopping", took)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := rt.Wait(ctx, s.opts.Container); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("wait while stopping: %v, want it to wait", err)
	}
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Errorf("a second stop while stopping: %v", err)
	}
	if err := <-stopped; err != nil {
		s.Errorf("stop: %v", err)
	}
	if took := time.Since(begin); took < grace {
		s.Errorf("stopped after %s, before the grace period of %s was over", took, grace)
	}
	s.wantState(rt, drivers.StateStopped)
	if exit := s.wait(rt, s.opts.Container); exit.Code != 137 || exit.Signal != 9 {
		s.Errorf("exit %s, want 137 by signal 9", codeOf(exit))
	}
}

func stopIsIdempotent(s *suite) {
	rt := s.running(forever)
	for range 3 {
		if err := rt.Stop(s.ctx, drivers.StopOptions{GracePeriod: 10 * time.Second}); err != nil {
			s.Fatalf("stop: %v", err)
		}
		s.wantState(rt, drivers.StateStopped)
	}
	s.refused(drivers.StateStopped, s.onlyRunning(rt))
	s.refused(drivers.StateStopped, map[string]error{
		"bootstrap":      rt.Bootstrap(s.ctx, drivers.BootstrapRequest{}),
		"start":          rt.StartProcess(s.ctx, s.opts.Container),
		"create process": rt.CreateProcess(s.ctx, "p", s.opts.Container, sh("true")),
		"resume":         rt.Resume(s.ctx),
	})
	snap, err := rt.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	if snap.Reason != "" {
		s.Errorf("reason %q of a stop that was asked for, want none", snap.Reason)
	}
	// Late callers get the stored status.
	if exit := s.wait(rt, s.opts.Container); exit.FinishedAt.IsZero() {
		s.Errorf("the stored status has no time")
	}
}

func stopEndsPaused(s *suite) {
	s.need(drivers.CapabilityPause)
	rt := s.running(forever)
	if err := rt.Pause(s.ctx); err != nil {
		s.Fatalf("pause: %v", err)
	}
	if err := rt.Stop(s.ctx, drivers.StopOptions{GracePeriod: time.Second}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	s.wantState(rt, drivers.StateStopped)
}

func pauseAndResume(s *suite) {
	s.need(drivers.CapabilityPause)
	rt := s.running(forever)
	if err := rt.Resume(s.ctx); !errors.Is(err, drivers.ErrInvalidState) {
		s.Errorf("resume of a running sandbox: %v, want an invalid state", err)
	}
	if err := rt.Pause(s.ctx); err != nil {
		s.Fatalf("pause: %v", err)
	}
	s.wantState(rt, drivers.StatePaused)
	s.refused(drivers.StatePaused, s.onlyRunning(rt))
	s.refused(drivers.StatePaused, map[string]error{
		"shutdown":       rt.Shutdown(s.ctx),
		"create process": rt.CreateProcess(s.ctx, "p", s.opts.Container, sh("true")),
		"start process":  rt.StartProcess(s.ctx, s.opts.Container),
	})
	if err := rt.Resume(s.ctx); err != nil {
		s.Fatalf("resume: %v", err)
	}
	s.wantState(rt, drivers.StateRunning)
	if _, err := rt.Exec(s.ctx, s.opts.Container, sh("true"), drivers.Stdio{}); err != nil && !s.mayLack("exec", err) {
		s.Errorf("exec after a pause: %v", err)
	}
}

func statisticsNeedRunning(s *suite) {
	s.need(drivers.CapabilityStatistics)
	rt := s.running(forever)
	// What a process uses shows once it has touched it.
	var stats drivers.Statistics
	s.within(10*time.Second, "statistics of a running container", func() bool {
		var err error
		if stats, err = rt.Statistics(s.ctx); err != nil {
			s.Fatalf("statistics: %v", err)
		}
		use := stats.Containers[s.opts.Container]
		return use.Processes > 0 && use.MemoryBytes > 0
	})
	if stats.Time.IsZero() || stats.Sandbox.MemoryBytes == 0 {
		s.Errorf("statistics of a running sandbox: %+v", stats)
	}
}

func eventsTellOfEveryState(s *suite) {
	sb := s.created(forever)
	rt := sb.Runtime
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	events, err := rt.Events(ctx)
	if err != nil {
		s.Fatalf("events: %v", err)
	}
	next := func(want drivers.State) {
		s.Helper()
		for {
			select {
			case snap, ok := <-events:
				if !ok {
					s.Fatalf("the events ended before state %s", want)
				}
				if snap.State == want {
					return
				}
			case <-s.ctx.Done():
				s.Fatalf("no event of state %s", want)
			}
		}
	}
	next(drivers.StateCreated)
	if err := rt.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	next(drivers.StateBooted)
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start: %v", err)
	}
	next(drivers.StateRunning)
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	// A slow reader may miss what is between, never the latest.
	next(drivers.StateStopped)
	cancel()
	s.within(10*time.Second, "the events end with their context", func() bool {
		select {
		case _, ok := <-events:
			return !ok
		default:
			return false
		}
	})
}

func shutdownOnlyWhenStopped(s *suite) {
	rt := s.running(forever)
	s.refused(drivers.StateRunning, map[string]error{"shutdown": rt.Shutdown(s.ctx)})
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	if err := rt.Shutdown(s.ctx); err != nil {
		s.Errorf("shutdown: %v", err)
	}
}
