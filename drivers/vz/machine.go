package vz

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// framework is Apple's Virtualization framework, as far as it is used here.
type framework interface {
	// probe says why no machine can be made here, if that is so.
	probe() error
	// version is the framework's, for people.
	version() string
	limits() limits
	newIdentifier() ([]byte, error)
	// canSave says why no machine can be saved here, if that is so.
	canSave() error
	// newMachine makes a machine that has yet to be started. It keeps the files
	// referenced.
	newMachine(d Description, f files) (virtualMachine, error)
}

// files are the framework's ends of what a machine is joined to.
type files struct {
	// input and output are the console's.
	input, output *os.File
	// networks are in the order of the description's.
	networks []*os.File
}

// virtualMachine is the framework's object. Its calls may block for ever.
type virtualMachine interface {
	Start() error
	Pause() error
	Resume() error
	// Stop cuts the power.
	Stop() error
	// Save writes what a machine that is paused has in it to a file that is not there
	// yet. Restore brings one that was not started to where another was, paused.
	Save(path string) error
	Restore(path string) error
	// Connect connects to a vsock port of the guest.
	Connect(port uint32) (net.Conn, error)
	// NextState waits for the next change of the state, or until stop is closed. It
	// is for one goroutine: each change is told once.
	NextState(stop <-chan struct{}) (s machineState, ok bool)
}

// machineState is that of a virtualMachine.
type machineState int

const (
	// stateStopped is before the start and after the end.
	stateStopped machineState = iota
	stateRunning
	statePaused
	// stateFailed is after an end that the framework brought about.
	stateFailed
	// stateChanging is on the way from one of these to another.
	stateChanging
)

// patience is how long the framework's calls may take.
type patience struct {
	// call bounds each.
	call time.Duration
	// save bounds those that write or read all of a machine's memory.
	save time.Duration
	// connect bounds one try to reach the agent: the guest may not listen yet, upon
	// which the framework may say nothing at all.
	connect time.Duration
	// news is how long a change of state may take to be told.
	news time.Duration
}

func defaultPatience() patience {
	return patience{call: 30 * time.Second, save: 10 * time.Minute, connect: 2 * time.Second, news: 2 * time.Second}
}

// errGone is the error of calls to a machine that has ended.
var errGone = errors.New("the virtual machine is gone")

// machine is one virtual machine.
type machine struct {
	vm          virtualMachine
	joints      *joints
	patience    patience
	description drivers.Machine

	mu      sync.Mutex
	state   machineState
	changed chan struct{} // closed, and replaced, at each change of state
	killed  bool          // Kill was called
	reason  string        // why it ended; set before exited is closed

	exited chan struct{}
	// refused is closed when the machine will not start, and so have no end either.
	refused chan struct{}
}

func newMachine(vm virtualMachine, j *joints, p patience) *machine {
	m := &machine{
		vm: vm, joints: j, patience: p,
		changed: make(chan struct{}), exited: make(chan struct{}), refused: make(chan struct{}),
	}
	go m.watch()
	return m
}

// watch alone is told of the states, until the machine has ended.
func (m *machine) watch() {
	for begun := false; ; {
		s, ok := m.vm.NextState(m.refused)
		if !ok {
			m.joints.close()
			return
		}
		begun = begun || s != stateStopped
		m.enter(s)
		if begun && (s == stateStopped || s == stateFailed) {
			// All that was printed is in the log when the end is told.
			m.joints.close()
			close(m.exited)
			return
		}
	}
}

// enter notes a state.
func (m *machine) enter(s machineState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	close(m.changed)
	m.changed = make(chan struct{})
	if s == stateFailed && !m.killed {
		m.reason = "the Virtualization framework ended the virtual machine: an internal error"
	}
}

// await waits for one of the states, or the machine's end.
func (m *machine) await(ctx context.Context, want ...machineState) error {
	for {
		m.mu.Lock()
		s, changed := m.state, m.changed
		m.mu.Unlock()
		if slices.Contains(want, s) {
			return nil
		}
		select {
		case <-m.exited:
			return errGone
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// start returns when the CPUs run, or leaves no machine behind.
func (m *machine) start(ctx context.Context) error {
	return m.begin(ctx, "start the virtual machine", m.patience.call, m.vm.Start, stateRunning)
}

// begin makes the call that gives the machine its life, and returns when it is in
// the state that this leads to, or leaves no machine behind.
func (m *machine) begin(ctx context.Context, what string, limit time.Duration, call func() error, want machineState) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The framework's own error tells more than the end that may come first.
	_, err := bounded(limited, what, func() (struct{}, error) { return struct{}{}, call() }, nil)
	switch {
	case err == nil:
		if err = m.await(limited, want); err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", what, err)
	case !gaveUp(err) && !m.begun():
		close(m.refused)
		return err
	}
	kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.patience.call)
	defer cancel()
	if kerr := m.Kill(kill); kerr != nil {
		err = errors.Join(err, fmt.Errorf("it may still run, as long as this process: %w", kerr))
	}
	return err
}

// gaveUp reports whether an error is of the waiting, and not the framework's.
func gaveUp(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// begun reports whether the machine has left the state that it was made in.
func (m *machine) begun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state != stateStopped
}

// DialAgent connects to the agent's port.
func (m *machine) DialAgent(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, m.patience.connect)
	defer cancel()
	return until(ctx, m.exited, "connect to the guest's agent",
		func() (net.Conn, error) { return m.vm.Connect(agentPort) },
		func(late net.Conn) { late.Close() })
}

// Pause stops the CPUs.
func (m *machine) Pause(ctx context.Context) error { return m.call(ctx, "pause", m.vm.Pause) }

// Resume lets the CPUs run again if they do not.
func (m *machine) Resume(ctx context.Context) error {
	m.mu.Lock()
	runs := m.state == stateRunning
	m.mu.Unlock()
	if runs {
		return nil // the framework would call it an invalid transition
	}
	return m.call(ctx, "resume", m.vm.Resume)
}

// Kill cuts the power and waits until the machine has ended. In between two
// states the framework stops no machine: that is waited for.
func (m *machine) Kill(ctx context.Context) error {
	m.mu.Lock()
	m.killed = true
	m.mu.Unlock()
	if err := m.await(ctx, stateRunning, statePaused); err != nil {
		return ignoreGone(err)
	}
	err := m.call(ctx, "stop", m.vm.Stop)
	if gaveUp(err) {
		return ignoreGone(err)
	}
	if err != nil {
		// It may have come too late, and the news of the end be on its way.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, m.patience.news, err)
		defer cancel()
	}
	select {
	case <-m.exited:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// Exited is closed when the machine has ended.
func (m *machine) Exited() <-chan struct{} { return m.exited }

// ExitReason says why, once Exited is closed.
func (m *machine) ExitReason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason
}

// Describe tells what the machine runs on.
func (m *machine) Describe() drivers.Machine { return m.description }

// call makes one call of the framework's, within its time and as long as the
// machine is there.
func (m *machine) call(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, m.patience.call)
	defer cancel()
	_, err := until(ctx, m.exited, what+" the virtual machine", func() (struct{}, error) { return struct{}{}, f() }, nil)
	return err
}

// until is bounded, and ends with errGone when gone is closed.
func until[T any](ctx context.Context, gone <-chan struct{}, what string, f func() (T, error), late func(T)) (T, error) {
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	select {
	case <-gone:
		give(errGone)
	default:
		go func() {
			select {
			case <-gone:
				give(errGone)
			case <-ctx.Done():
			}
		}()
	}
	return bounded(ctx, what, f, late)
}

// bounded makes a call that takes no context. When ctx ends first it goes on by
// itself: there is no way to end it. What it then yields is given to late.
func bounded[T any](ctx context.Context, what string, f func() (T, error), late func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if ctx.Err() != nil {
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			r.err = fmt.Errorf("%s: %w", what, r.err)
		}
		return r.v, r.err
	case <-ctx.Done():
	}
	go func() {
		if r := <-done; r.err == nil && late != nil {
			late(r.v)
		}
	}()
	return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
}
