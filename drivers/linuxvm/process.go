package linuxvm

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
)

const (
	// startTimeout bounds the time from the request to run a process until it
	// runs, on a busy host.
	startTimeout = 60 * time.Second
	// exitTimeout bounds the wait for a process to be gone after SIGKILL.
	exitTimeout = 10 * time.Second
	// streamThroes is how long after a process's stream broke the connection it
	// was on, or the machine, is given to prove lost too.
	streamThroes = time.Second
)

// Exit codes of processes that nobody could ask.
const (
	codeKilled  = 128 + int(syscall.SIGKILL) // the machine was powered off
	codeUnknown = 255                        // the machine died
)

// process is a process that has a name. The sandbox's mutex guards it.
type process struct {
	id, container string
	init          bool
	spec          drivers.ProcessSpec // names of secrets and all

	state     drivers.ProcessState
	starting  bool
	pid       int
	startedAt time.Time
	exit      *drivers.ExitStatus
	run       *run // the latest; that of a created process is yet to come
}

// run is one life of a process: an init process may have several.
type run struct {
	number uint64                    // the guest's, 0 until it runs
	resize chan drivers.TerminalSize // holds the latest only
	input  *wire.SharedInput         // nil for a process without stdin
	output *output
	done   chan struct{}
	exit   drivers.ExitStatus // once done is closed
	log    *crilog.Writer     // while it runs
	// from is how much of its output the sandbox that it was saved in had in its
	// log; nil for a run that was not restored.
	from *outputPosition
}

func newRun(spec drivers.ProcessSpec) *run {
	r := &run{
		resize: make(chan drivers.TerminalSize, 1),
		output: newOutput(spec.Terminal),
		done:   make(chan struct{}),
	}
	if spec.Stdin {
		r.input = wire.NewSharedInput(spec.StdinOnce)
	}
	return r
}

func (p *process) status() drivers.ProcessStatus {
	st := drivers.ProcessStatus{ID: p.id, Container: p.container, State: p.state, PID: p.pid, StartedAt: p.startedAt}
	if p.exit != nil {
		exit := *p.exit
		st.Exit = &exit
	}
	return st
}

// register adds a process. The caller holds mu.
func (s *sandbox) register(p *process) {
	p.state = drivers.ProcessCreated
	p.run = newRun(p.spec)
	s.processes[p.id] = p
	s.order = append(s.order, p.id)
}

// lookup returns a process. The caller holds mu.
func (s *sandbox) lookup(id string) (*process, error) {
	p, ok := s.processes[id]
	if !ok {
		return nil, fmt.Errorf("process %q: %w", id, drivers.ErrNotFound)
	}
	return p, nil
}

// running returns a process that runs. The caller holds mu.
func (s *sandbox) running(id string) (*process, error) {
	p, err := s.lookup(id)
	if err != nil {
		return nil, err
	}
	if p.state != drivers.ProcessRunning {
		return nil, fmt.Errorf("process %q: %w: it is %s, not running", id, drivers.ErrInvalidState, p.state)
	}
	return p, nil
}

// CreateProcess registers a process.
func (s *sandbox) CreateProcess(_ context.Context, id, container string, spec drivers.ProcessSpec) error {
	defer s.save()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.require("create process", drivers.StateBooted, drivers.StateRunning); err != nil {
		return err
	}
	if err := checkID("process", id); err != nil {
		return err
	}
	if _, ok := s.processes[id]; ok {
		return fmt.Errorf("process %q: %w: the id is in use", id, drivers.ErrInvalidArgument)
	}
	if len(s.processes) >= maxProcesses {
		return fmt.Errorf("process %q: %w: the sandbox has %d processes already", id, drivers.ErrExhausted, maxProcesses)
	}
	if err := s.checkSpec(container, spec); err != nil {
		return fmt.Errorf("process %q: %w", id, err)
	}
	s.register(&process{id: id, container: container, spec: spec})
	s.publish()
	return nil
}

// checkSpec says why a process cannot be run in a container. The caller holds mu.
func (s *sandbox) checkSpec(container string, spec drivers.ProcessSpec) error {
	if _, ok := s.vm.container(container); !ok {
		return fmt.Errorf("container %q: %w", container, drivers.ErrNotFound)
	}
	if len(spec.Args) == 0 {
		return fmt.Errorf("%w: no command to run", drivers.ErrInvalidArgument)
	}
	_, err := s.vm.secrets.spec(spec)
	return err
}

// StartProcess starts a process and returns when it runs. A caller that no
// longer waits does not undo the start.
func (s *sandbox) StartProcess(ctx context.Context, id string) error {
	s.mu.Lock()
	p, err := s.startable(id)
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("start process: %w", err)
	}
	p.starting = true
	r := p.run
	if p.state == drivers.ProcessExited {
		r = newRun(p.spec)
	}
	v := s.vm
	s.active.Add(1)
	s.mu.Unlock()

	started := make(chan error, 1)
	go func() {
		defer s.active.Done()
		s.own(v, p, r, started)
	}()
	select {
	case err = <-started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("start process %q: %w", id, err)
	s.mu.Lock()
	booted := s.state == drivers.StateBooted
	s.mu.Unlock()
	if booted && p.init {
		// A sandbox that never ran has nothing to keep.
		s.end(v, err.Error())
	}
	return err
}

// startable returns a process that can be started now. The caller holds mu.
func (s *sandbox) startable(id string) (*process, error) {
	if err := s.require("start process", drivers.StateBooted, drivers.StateRunning); err != nil {
		return nil, err
	}
	p, err := s.lookup(id)
	switch {
	case err != nil:
		return nil, err
	case s.ending:
		return nil, fmt.Errorf("process %q: %w: the sandbox is ending", id, drivers.ErrInvalidState)
	case p.starting || p.state == drivers.ProcessRunning:
		return nil, fmt.Errorf("process %q: %w: it runs already", id, drivers.ErrInvalidState)
	case p.state == drivers.ProcessExited && !p.init:
		return nil, fmt.Errorf("process %q: %w: it has run, and only a container's init process may run again", id, drivers.ErrInvalidState)
	}
	return p, nil
}

// own starts a process and stays with it until it has exited. started gets one
// value: nil when it runs, or why it does not.
func (s *sandbox) own(v *vm, p *process, r *run, started chan<- error) {
	log, err := openLog(v, p.id)
	if err == nil {
		defer s.closeLog(p.id, log)
		err = s.begin(v, p, r)
	}
	if err != nil {
		s.mu.Lock()
		p.starting = false
		s.mu.Unlock()
		started <- err
		return
	}
	started <- nil
	s.accompany(v, p, r, log)
}

// begin starts a process in the guest.
func (s *sandbox) begin(v *vm, p *process, r *run) error {
	spec, err := v.secrets.spec(p.spec)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(s.life, startTimeout, fmt.Errorf("it did not start within %s", startTimeout))
	defer cancel()
	req := &agentpb.RunStart{
		Id: p.id, Container: p.container, Spec: wire.FromSpec(spec), Stdin: p.spec.Stdin,
	}
	link := v.client.current()
	resp, err := v.client.agent.Start(ctx, req)
	for status.Code(err) == codes.Unavailable && v.lost(link, streamThroes) {
		// It may have been started: the agent then answers with that.
		var werr error
		if link, werr = v.client.working(ctx); werr != nil {
			break
		}
		resp, err = v.client.agent.Start(ctx, req)
	}
	if err != nil {
		if ctx.Err() == nil {
			return wire.FromStatus(err)
		}
		// Whatever became of it: it must not run unseen.
		_ = v.signal(s.life, p.id, int(syscall.SIGKILL), callTimeout)
		return context.Cause(ctx)
	}
	s.began(p, r, resp)
	return nil
}

// pump runs a process over a stream of the agent's.
func (s *sandbox) pump(ctx context.Context, v *vm, id, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	spec, err := v.secrets.spec(spec)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := v.client.agent.Run(ctx)
	if err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	err = stream.Send(&agentpb.RunRequest{Kind: &agentpb.RunRequest_Start{Start: &agentpb.RunStart{
		Id:        id,
		Container: container,
		Spec:      wire.FromSpec(spec),
		Stdin:     stdio.Stdin != nil,
	}}})
	if err != nil && ctx.Err() != nil {
		return drivers.ExitStatus{}, ctx.Err()
	}
	// Any other error of Send comes again, with its cause, from Recv.
	exit, err := wire.Pump(ctx, runStream{stream}, stdio, nil)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	return trusted(exit), nil
}

// trusted returns what may be believed of an exit status from the guest.
func trusted(e drivers.ExitStatus) drivers.ExitStatus {
	e.Code &= 0xff
	e.Signal &= 0x7f
	e.FinishedAt = time.Now()
	return e
}

// began notes that a process runs.
func (s *sandbox) began(p *process, r *run, m *agentpb.StartResponse) {
	defer s.save()
	s.mu.Lock()
	defer s.mu.Unlock()
	p.starting = false
	p.state = drivers.ProcessRunning
	p.pid = int(m.GetPid())
	r.number = m.GetRun()
	p.startedAt = time.Now()
	p.exit = nil
	p.run = r
	if p.init && s.state == drivers.StateBooted {
		s.passed(drivers.StageRunning)
		s.apply(eventStarted)
		return
	}
	s.publish()
}

// exited notes how a process ended. An error means that it was not told: its
// stream broke for good, with the machine as a rule. The two are then told as one,
// by end: that the process ended would be taken for its own doing.
func (s *sandbox) exited(v *vm, p *process, r *run, exit drivers.ExitStatus, err error) {
	lost := err != nil && (v.client.isClosed() || v.lost(v.client.current(), streamThroes))
	defer s.save()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		exit = drivers.ExitStatus{Code: codeUnknown, FinishedAt: time.Now()}
		if s.state == drivers.StateStopping {
			exit.Code, exit.Signal = codeKilled, int(syscall.SIGKILL)
		}
		if !lost && !s.ending {
			s.log.Warn("lost sight of a process", "process", p.id, "error", err)
		}
	}
	p.state = drivers.ProcessExited
	p.pid = 0
	r.input.Close()
	p.exit = &exit
	r.exit = exit
	close(r.done)
	if !lost {
		s.publish()
	}
}

// Wait waits for the end of a process's latest run.
func (s *sandbox) Wait(ctx context.Context, id string) (drivers.ExitStatus, error) {
	s.mu.Lock()
	p, err := s.lookup(id)
	if err != nil {
		s.mu.Unlock()
		return drivers.ExitStatus{}, fmt.Errorf("wait: %w", err)
	}
	r := p.run
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.exit, nil
	case <-s.ended:
		// Whatever ran has been given its status before.
		select {
		case <-r.done:
			return r.exit, nil
		default:
			return drivers.ExitStatus{}, fmt.Errorf("wait for process %q: %w: the sandbox ended before it was started", id, drivers.ErrInvalidState)
		}
	case <-ctx.Done():
		return drivers.ExitStatus{}, ctx.Err()
	}
}

// Kill sends a signal. With SIGKILL it returns when the exit was seen.
func (s *sandbox) Kill(ctx context.Context, id string, signal int) error {
	if signal < 1 || signal > 64 {
		return fmt.Errorf("kill process %q: %w: there is no signal %d", id, drivers.ErrInvalidArgument, signal)
	}
	s.mu.Lock()
	err := s.require("kill", drivers.StateRunning)
	var p *process
	if err == nil {
		p, err = s.running(id)
	}
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("kill: %w", err)
	}
	v, r := s.vm, p.run
	s.mu.Unlock()
	if err := v.signal(ctx, id, signal, callTimeout); err != nil {
		select {
		case <-r.done: // it was faster
			return nil
		default:
			return fmt.Errorf("kill process %q: %w", id, err)
		}
	}
	if signal != int(syscall.SIGKILL) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("kill process %q: its exit was not seen: %w", id, ctx.Err())
	}
}

// signal has the agent send a signal.
func (v *vm) signal(ctx context.Context, id string, signal int, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := v.client.agent.Signal(ctx, &agentpb.SignalRequest{Id: id, Signal: int32(signal)})
	return wire.FromStatus(err)
}

// Resize sets the size of a process's terminal.
func (s *sandbox) Resize(_ context.Context, id string, size drivers.TerminalSize) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.require("resize", drivers.StateRunning); err != nil {
		return err
	}
	p, err := s.running(id)
	if err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	if !p.spec.Terminal {
		return fmt.Errorf("resize: process %q: %w: it has no terminal", id, drivers.ErrInvalidArgument)
	}
	// Only the latest size counts; mu makes this the only sender.
	select {
	case <-p.run.resize:
	default:
	}
	p.run.resize <- size
	return nil
}

// runStream is the agent's stream as package wire wants it.
type runStream struct {
	agentpb.Agent_RunClient
}

func (s runStream) SendInput(in *wire.Input) error {
	return s.Send(&agentpb.RunRequest{Kind: &agentpb.RunRequest_Input{Input: in}})
}
