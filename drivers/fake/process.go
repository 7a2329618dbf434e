package fake

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// Linux signal numbers, which are not those of every host.
const (
	sigInt     = 2
	sigKill    = 9
	sigPipe    = 13
	sigTerm    = 15
	sigChild   = 17
	sigCont    = 18
	sigUrgent  = 23
	sigResize  = 28
	lastSignal = 64
)

// process is a program of a container. What is not said to be constant is
// guarded by the runtime's mu.
type process struct {
	id, container string              // constant
	init, exec    bool                // constant
	spec          drivers.ProcessSpec // constant

	output *fanOut // constant

	state     drivers.ProcessState
	pid       int
	startedAt time.Time
	size      drivers.TerminalSize
	traps     map[int]int // exit codes by signal, or ignored
	memory    memory      // of its program
	timer     *time.Timer // of ExitAfter
	run       *run        // the present one, or the first one to come
}

// run is one life of a process: init processes may have several.
type run struct {
	input  *wire.SharedInput  // nil for a process without stdin
	cancel context.CancelFunc // ends the program
	ended  chan struct{}      // closed when the process has exited
	status drivers.ExitStatus // valid then
}

func (p *process) status() drivers.ProcessStatus {
	s := drivers.ProcessStatus{ID: p.id, Container: p.container, State: p.state, PID: p.pid, StartedAt: p.startedAt}
	if p.state == drivers.ProcessExited {
		exit := p.run.status
		s.Exit = &exit
	}
	return s
}

// register makes a process that has not been started. The caller holds mu.
func (r *Runtime) register(id, container string, spec drivers.ProcessSpec, init bool) *process {
	p := &process{
		id: id, container: container, spec: spec, init: init,
		state:  drivers.ProcessCreated,
		output: &fanOut{},
		run:    &run{ended: make(chan struct{})},
	}
	r.processes[id] = p
	r.order = append(r.order, p)
	return p
}

// find returns a process by its id. The caller holds mu.
func (r *Runtime) find(op, id string) (*process, error) {
	p := r.processes[id]
	if p == nil {
		return nil, fmt.Errorf("%s: process %q: %w", op, id, drivers.ErrNotFound)
	}
	return p, nil
}

// CreateProcess implements drivers.Runtime.
func (r *Runtime) CreateProcess(ctx context.Context, id, container string, spec drivers.ProcessSpec) error {
	const op = "create process"
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateBooted, drivers.StateRunning); err != nil {
		return err
	}
	if _, ok := r.processes[id]; ok || id == "" {
		return fmt.Errorf("%s: %w: id %q is empty or in use", op, drivers.ErrInvalidArgument, id)
	}
	if p := r.processes[container]; p == nil || !p.init {
		return fmt.Errorf("%s: container %q: %w", op, container, drivers.ErrNotFound)
	}
	if err := checkSpec(spec, r.secrets); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	r.register(id, container, spec, false)
	r.publish()
	return nil
}

// StartProcess implements drivers.Runtime.
func (r *Runtime) StartProcess(ctx context.Context, id string) error {
	const op = "start process"
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateBooted, drivers.StateRunning); err != nil {
		return err
	}
	p, err := r.find(op, id)
	if err != nil {
		return err
	}
	if p.state == drivers.ProcessRunning || (p.state == drivers.ProcessExited && !p.init) {
		return fmt.Errorf("%s: %w: process %q is %s", op, drivers.ErrInvalidState, id, p.state)
	}
	if p.init && r.faults.StartError != "" {
		return fmt.Errorf("%s %q: %s", op, id, r.faults.StartError)
	}
	prog, err := parse(p.spec.Args, p.init)
	if err != nil {
		return fmt.Errorf("%s %q: %w", op, id, err)
	}
	if err := r.startLogged(p, prog); err != nil {
		return fmt.Errorf("%s %q: %w", op, id, err)
	}
	if p.init && r.state == drivers.StateBooted {
		r.passed(drivers.StageRunning)
		r.state = drivers.StateRunning
	}
	if after := time.Duration(r.faults.ExitAfter); p.init && after > 0 {
		this := p.run
		p.timer = time.AfterFunc(after, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if p.run == this {
				r.exit(p, drivers.ExitStatus{Code: r.faults.ExitCode})
			}
		})
	}
	r.publish()
	return nil
}

// startLogged starts a process that prints to its log. The caller holds mu.
func (r *Runtime) startLogged(p *process, prog program) error {
	stdout, stderr, closeLog, err := r.openLog(p)
	if err == nil {
		r.start(p, prog, nil, stdout, stderr, closeLog)
	}
	return err
}

// openLog returns what a process prints to. The caller holds mu.
func (r *Runtime) openLog(p *process) (stdout, stderr io.Writer, closeLog func(), err error) {
	if r.opts.DiscardLogs {
		return io.Discard, io.Discard, func() {}, nil
	}
	dir := filepath.Join(r.bundle, drivers.LogsDir)
	if err := state.MkdirAll(dir); err != nil {
		return nil, nil, nil, err
	}
	log, err := crilog.NewWriter(filepath.Join(dir, p.id+".log"), crilog.Options{})
	if err != nil {
		return nil, nil, nil, err
	}
	return log.Stream(crilog.Stdout), log.Stream(crilog.Stderr), func() { _ = log.Close() }, nil
}

// start starts a process. The caller holds mu. written is called when nothing more
// is written.
func (r *Runtime) start(p *process, prog program, stdin io.Reader, stdout, stderr io.Writer, written func()) {
	if p.state == drivers.ProcessExited {
		p.run = &run{ended: make(chan struct{})}
	}
	r.lastPID++
	p.state, p.pid, p.startedAt = drivers.ProcessRunning, r.lastPID, time.Now()
	p.size, p.traps, p.memory = p.spec.TerminalSize, nil, memory{}
	if p.spec.Terminal && p.size == (drivers.TerminalSize{}) {
		p.size = drivers.TerminalSize{Width: 80, Height: 24}
	}
	r.launch(p, prog, stdin, stdout, stderr, written)
}

// launch runs the program of a process, from what it has in memory on. The caller
// holds mu.
func (r *Runtime) launch(p *process, prog program, stdin io.Reader, stdout, stderr io.Writer, written func()) {
	if p.spec.Stdin && stdin == nil {
		p.run.input = wire.NewSharedInput(p.spec.StdinOnce)
		stdin = p.run.input.Reader(context.Background())
	}
	ctx, cancel := context.WithCancel(context.Background())
	this := p.run
	this.cancel = cancel
	sh := &shell{
		ctx:    ctx,
		rt:     r,
		p:      p,
		done:   p.memory.Steps,
		stdout: io.MultiWriter(stdout, p.output.stream(false)),
		stderr: io.MultiWriter(stderr, p.output.stream(!p.spec.Terminal)),
		stdin:  &input{r: stdin},
	}
	go func() {
		defer written()
		defer this.input.Close()
		code, err := prog(sh)
		if err != nil {
			return // it was ended from outside
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if p.run == this {
			r.exit(p, drivers.ExitStatus{Code: code})
		}
	}()
}

// exit ends a process, if it runs, and with a container's init process all
// others of the container. The caller holds mu.
func (r *Runtime) exit(p *process, status drivers.ExitStatus) {
	if p.state != drivers.ProcessRunning {
		return
	}
	status.FinishedAt = time.Now()
	p.state, p.run.status = drivers.ProcessExited, status
	if p.timer != nil {
		p.timer.Stop()
	}
	p.run.cancel()
	close(p.run.ended)
	if p.init {
		for _, other := range r.order {
			if other.container == p.container {
				r.exit(other, drivers.ExitStatus{Code: 128 + sigKill, Signal: sigKill})
			}
		}
	}
	r.publish()
}

// ExitProcess ends a running process as a test wants it to end.
func (r *Runtime) ExitProcess(id string, status drivers.ExitStatus) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.find("exit process", id)
	if err != nil {
		return err
	}
	r.exit(p, status)
	return nil
}

// signal does to a process what the signal does by default, or what its program
// or its faults have made of that. The caller holds mu.
func (r *Runtime) signal(p *process, signal int) {
	if p.state != drivers.ProcessRunning {
		return
	}
	if signal != sigKill {
		if p.init && r.faults.IgnoreSignals {
			return
		}
		if code, ok := p.traps[signal]; ok && code == ignored {
			return
		} else if ok {
			r.exit(p, drivers.ExitStatus{Code: code})
			return
		}
		switch signal {
		case 0, sigChild, sigCont, sigUrgent, sigResize:
			return
		}
	}
	r.exit(p, drivers.ExitStatus{Code: 128 + signal, Signal: signal})
}

// Kill implements drivers.Runtime.
func (r *Runtime) Kill(ctx context.Context, id string, signal int) error {
	const op = "kill"
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateRunning); err != nil {
		return err
	}
	p, err := r.find(op, id)
	if err != nil {
		return err
	}
	if signal < 1 || signal > lastSignal {
		return fmt.Errorf("%s: %w: there is no signal %d", op, drivers.ErrInvalidArgument, signal)
	}
	if p.state != drivers.ProcessRunning {
		return fmt.Errorf("%s: %w: process %q is %s", op, drivers.ErrInvalidState, id, p.state)
	}
	r.signal(p, signal)
	return nil
}

// Resize implements drivers.Runtime.
func (r *Runtime) Resize(ctx context.Context, id string, size drivers.TerminalSize) error {
	const op = "resize"
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateRunning); err != nil {
		return err
	}
	p, err := r.find(op, id)
	if err != nil {
		return err
	}
	if !p.spec.Terminal {
		return fmt.Errorf("%s: %w: process %q has no terminal", op, drivers.ErrInvalidArgument, id)
	}
	p.size = size
	return nil
}

// Wait implements drivers.Runtime.
func (r *Runtime) Wait(ctx context.Context, id string) (drivers.ExitStatus, error) {
	const op = "wait"
	if err := r.respond(ctx); err != nil {
		return drivers.ExitStatus{}, err
	}
	r.mu.Lock()
	p, err := r.find(op, id)
	if err != nil {
		r.mu.Unlock()
		return drivers.ExitStatus{}, err
	}
	this := p.run
	r.mu.Unlock()
	select {
	case <-this.ended:
	case <-r.ended:
	case <-ctx.Done():
		return drivers.ExitStatus{}, ctx.Err()
	}
	select {
	case <-this.ended:
		return this.status, nil
	default:
		return drivers.ExitStatus{}, fmt.Errorf("%s: %w: process %q was never started", op, drivers.ErrInvalidState, id)
	}
}
