package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// T is what the suite needs of a test: *testing.T has it, and a command line
// tool can.
type T interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	// Skipf ends the check, as one that does not apply.
	Skipf(format string, args ...any)
	Cleanup(f func())
}

// Sandbox is a runtime in state created.
type Sandbox struct {
	Runtime drivers.Runtime
	// Request bootstraps it.
	Request drivers.BootstrapRequest
	// Kill kills the process that the runtime is in, without warning. Nil if it
	// has none of its own: checks of crashes are skipped.
	Kill func() error
	// Reconnect drops the connection to the runtime, as a client does that dies,
	// and returns the runtime at the end of a new one. Nil if there is no
	// connection.
	Reconnect func(ctx context.Context) (drivers.Runtime, error)
}

// Options configure the suite.
type Options struct {
	// New makes a sandbox, in state created, with one container named Container,
	// whose init process is the given one. The suite ends the sandbox; New
	// registers with t.Cleanup what else is to be removed.
	New func(t T, init drivers.ProcessSpec) Sandbox
	// Container is the name of the container.
	Container string
	// Run runs one named check. With *testing.T:
	//
	//	func(name string, check func(conformance.T)) {
	//		t.Run(name, func(t *testing.T) { check(t) })
	//	}
	Run func(name string, check func(T))
	// Timeout bounds each check. Default: 2 minutes.
	Timeout time.Duration
}

// Run runs the whole suite.
func Run(opts Options) {
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Minute
	}
	for _, c := range checks() {
		opts.Run(c.name, func(t T) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), opts.Timeout)
			defer cancel()
			c.check(&suite{T: t, opts: opts, ctx: ctx})
		})
	}
}

// Names returns the names of the checks.
func Names() []string {
	var names []string
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

type check struct {
	name  string
	check func(*suite)
}

// checks holds the contract. The names are its sentences.
func checks() []check {
	return []check{
		{"InfoIsCompleteAndKnown", infoIsGood},
		{"WhatIsLackingSaysSo", whatIsLackingSaysSo},
		{"CreatedAllowsOnlyBootstrap", createdAllowsOnlyBootstrap},
		{"BootstrapFailureEndsStopped", bootstrapFailureEndsStopped},
		{"BootstrapOnlyOnce", bootstrapOnlyOnce},
		{"StartOfInitMovesToRunning", startOfInitMovesToRunning},
		{"ProcessIDsAreUnique", processIDsAreUnique},
		{"UnknownNamesAreNotFound", unknownNamesAreNotFound},
		{"ExitCodeReachesEveryWaiter", exitCodeReachesEveryWaiter},
		{"ExitedInitCanBeStartedAgain", exitedInitCanBeStartedAgain},
		{"SignalledProcessExitsWith128PlusN", signalledProcessExits},
		{"ExecCarriesStdioUnchanged", execCarriesStdio},
		{"ExecTakesEmptyAndBigInputs", execTakesEmptyAndBig},
		{"ExecSeparatesStdoutAndStderr", execSeparatesOutputs},
		{"ExecReportsExitCode", execReportsExitCode},
		{"ExecUsesEnvAndWorkingDir", execUsesEnvAndWorkingDir},
		{"ExecPassesSignals", execPassesSignals},
		{"ExecWithTerminalHasItsSize", execWithTerminal},
		{"CancelledExecIsKilled", cancelledExecIsKilled},
		{"ExecOfMissingProgramFails", execOfMissingProgramFails},
		{"AttachSeesOutputAndLeavesProcess", attachLeavesProcess},
		{"AttachedInputReachesProcess", attachedInputReachesProcess},
		{"SeveralAttachedSeeTheSame", severalAttachedSeeTheSame},
		{"DialNeedsBootedOrRunning", dialNeedsRunning},
		{"DialOfClosedPortIsRefused", dialOfClosedPort},
		{"DialCarriesBothDirectionsAndHalfClose", dialCarriesBoth},
		{"DialCarries64MiBBothWaysBesideOneThatIsNotRead", dialCarriesMuch},
		{"DialServesManyAtOnce", dialServesMany},
		{"ClosedDialFreesItsPlace", closedDialFrees},
		{"StopEndsConnections", stopEndsConnections},
		{"StopLetsInitEndInGrace", stopLetsInitEnd},
		{"StopKillsAfterGraceAndBlocksNobody", stopKillsAfterGrace},
		{"StopIsIdempotent", stopIsIdempotent},
		{"StopEndsPaused", stopEndsPaused},
		{"PauseAndResume", pauseAndResume},
		{"StatisticsNeedRunning", statisticsNeedRunning},
		{"CopyCarriesTreesUnchanged", copyCarriesTrees},
		{"CopyGoesWhereAsked", copyGoesWhereAsked},
		{"CopyStaysInside", copyStaysInside},
		{"CopyInterruptedLeavesNoHalfFile", copyInterruptedLeavesNoHalfFile},
		{"CopyNeedsBootedOrRunning", copyNeedsUp},
		{"CopySurvivesRestart", copySurvivesRestart},
		{"SnapshotIsMadeOnce", snapshotIsMadeOnce},
		{"SavedSandboxGoesOn", savedGoesOn},
		{"RestoredSandboxGoesOnWhereItWas", restoredGoesOn},
		{"DamagedStateIsNotRestored", damagedIsNotRestored},
		{"EventsTellOfEveryState", eventsTellOfEveryState},
		{"ShutdownOnlyWhenStopped", shutdownOnlyWhenStopped},
		{"KilledRuntimeEndsEveryCall", killedRuntimeEndsEveryCall},
		{"LostClientKillsItsExecOnly", lostClientKillsItsExecOnly},
	}
}

// suite is one check under way.
type suite struct {
	T

	opts Options
	ctx  context.Context //nolint:containedctx // the check's
	// needs are capabilities without which the check is skipped; info is what the
	// runtime says of itself, known from the first sandbox on.
	needs []string
	info  drivers.Info
}

// sh is a process that runs a shell script.
func sh(script string) drivers.ProcessSpec {
	return drivers.ProcessSpec{
		Args: []string{"/bin/sh", "-c", script},
		Env:  []drivers.EnvVar{{Name: "PATH", Value: "/bin:/usr/bin:/sbin:/usr/sbin"}},
	}
}

// forever runs until SIGTERM, which it answers with exit code 7. A process that
// is PID 1 has no default action for a signal, hence the trap.
const forever = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"

// created returns a sandbox that ends with the check.
func (s *suite) created(script string) Sandbox {
	s.Helper()
	sb := s.opts.New(s.T, sh(script))
	s.Cleanup(func() { s.end(sb.Runtime) })
	s.skipUnlessAble(sb.Runtime)
	return sb
}

// end ends what is left of a sandbox.
func (s *suite) end(rt drivers.Runtime) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
	defer cancel()
	_ = rt.Stop(ctx, drivers.StopOptions{})
	_ = rt.Shutdown(ctx)
}

// booted returns a sandbox in state booted.
func (s *suite) booted(script string) drivers.Runtime {
	s.Helper()
	sb := s.created(script)
	if err := sb.Runtime.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	return sb.Runtime
}

// running returns a sandbox whose init process was started.
func (s *suite) running(script string) drivers.Runtime {
	s.Helper()
	rt := s.booted(script)
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start the init process: %v", err)
	}
	return rt
}

func (s *suite) wantState(rt drivers.Runtime, want drivers.State) {
	s.Helper()
	snap, err := rt.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	if snap.State != want {
		s.Errorf("state is %s (%s), want %s", snap.State, snap.Reason, want)
	}
}

// within fails the check if f has not returned true in time.
func (s *suite) within(limit time.Duration, what string, f func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-ctx.Done():
			s.Fatalf("%s: not within %s", what, limit)
		case <-tick.C:
		}
	}
}

// wait returns the exit status of a process.
func (s *suite) wait(rt drivers.Runtime, id string) drivers.ExitStatus {
	s.Helper()
	exit, err := rt.Wait(s.ctx, id)
	if err != nil {
		s.Fatalf("wait for %s: %v", id, err)
	}
	return exit
}

func codeOf(e drivers.ExitStatus) string {
	return fmt.Sprintf("code %d, signal %d", e.Code, e.Signal)
}
