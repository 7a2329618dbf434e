package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Exec implements drivers.Runtime.
func (r *Runtime) Exec(ctx context.Context, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	const op = "exec"
	if err := r.respond(ctx); err != nil {
		return drivers.ExitStatus{}, err
	}
	p, written, err := r.startExec(op, container, spec, stdio)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	defer r.unregister(p)
	if err := r.control(ctx, p, p.run, stdio); err != nil {
		return drivers.ExitStatus{}, fmt.Errorf("%s: %w", op, err)
	}
	// Its output comes first.
	select {
	case <-written:
	case <-ctx.Done():
	}
	return p.run.status, nil
}

// unregister ends a process and forgets it.
func (r *Runtime) unregister(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exit(p, drivers.ExitStatus{Code: 128 + sigKill, Signal: sigKill})
	delete(r.processes, p.id)
	r.order = slices.DeleteFunc(r.order, func(q *process) bool { return q == p })
	r.publish()
}

func (r *Runtime) startExec(op, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (*process, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateRunning); err != nil {
		return nil, nil, err
	}
	init := r.processes[container]
	if init == nil || !init.init {
		return nil, nil, fmt.Errorf("%s: container %q: %w", op, container, drivers.ErrNotFound)
	}
	if init.state != drivers.ProcessRunning {
		return nil, nil, fmt.Errorf("%s: %w: container %q is %s", op, drivers.ErrInvalidState, container, init.state)
	}
	if err := checkSpec(spec, r.secrets); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	prog, err := parse(spec.Args, false)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	r.execs++
	p := r.register(fmt.Sprintf("%s-exec-%d", container, r.execs), container, spec, false)
	p.exec = true
	written := make(chan struct{})
	stdout, stderr := orDiscard(stdio.Stdout), orDiscard(stdio.Stderr)
	if spec.Terminal {
		stderr = stdout
	}
	r.start(p, prog, stdio.Stdin, stdout, stderr, func() { close(written) })
	r.publish()
	return p, written, nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// control passes terminal sizes and signals on until the process's run has ended. It
// fails when ctx ends first.
func (r *Runtime) control(ctx context.Context, p *process, this *run, stdio drivers.Stdio) error {
	for {
		select {
		case <-this.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case size, ok := <-stdio.Resize:
			if !ok {
				stdio.Resize = nil
				continue
			}
			r.mu.Lock()
			p.size = size
			r.mu.Unlock()
		case sig, ok := <-stdio.Signals:
			if !ok {
				stdio.Signals = nil
				continue
			}
			r.mu.Lock()
			r.signal(p, sig)
			r.mu.Unlock()
		}
	}
}

// Attach implements drivers.Runtime.
func (r *Runtime) Attach(ctx context.Context, id string, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	const op = "attach"
	if err := r.respond(ctx); err != nil {
		return drivers.ExitStatus{}, err
	}
	r.mu.Lock()
	if err := r.require(op, drivers.StateRunning); err != nil {
		r.mu.Unlock()
		return drivers.ExitStatus{}, err
	}
	p, err := r.find(op, id)
	if err == nil && p.state != drivers.ProcessRunning {
		err = fmt.Errorf("%s: %w: process %q is %s", op, drivers.ErrInvalidState, id, p.state)
	}
	if err != nil {
		r.mu.Unlock()
		return drivers.ExitStatus{}, err
	}
	this := p.run
	r.mu.Unlock()
	if stdio.Stdin != nil && this.input == nil {
		return drivers.ExitStatus{}, fmt.Errorf("%s: %w: process %q runs without stdin", op, drivers.ErrUnsupported, id)
	}
	detach := p.output.attach(stdio)
	defer detach()
	if stdio.Stdin != nil {
		go this.input.Feed(stdio.Stdin)
		defer this.input.Left()
	}
	if err := r.control(ctx, p, this, stdio); err != nil {
		return drivers.ExitStatus{}, err
	}
	return this.status, nil
}

// fanOut copies a process's output to whoever is attached to it.
type fanOut struct {
	mu    sync.Mutex
	sinks map[*drivers.Stdio]struct{}
}

func (f *fanOut) attach(stdio drivers.Stdio) (detach func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sinks == nil {
		f.sinks = map[*drivers.Stdio]struct{}{}
	}
	f.sinks[&stdio] = struct{}{}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.sinks, &stdio)
	}
}

// stream returns what the process writes to. A sink that fails is dropped.
func (f *fanOut) stream(stderr bool) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for s := range f.sinks {
			w := s.Stdout
			if stderr {
				w = s.Stderr
			}
			if _, err := orDiscard(w).Write(p); err != nil {
				delete(f.sinks, s)
			}
		}
		return len(p), nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// input lets a program stop waiting for a Reader that cannot be interrupted.
type input struct {
	r      io.Reader
	once   sync.Once
	chunks chan []byte
	rest   []byte
}

// read returns the next bytes, io.EOF at the end, or the context's error.
func (in *input) read(ctx context.Context) ([]byte, error) {
	if len(in.rest) > 0 {
		b := in.rest
		in.rest = nil
		return b, nil
	}
	if in.r == nil {
		return nil, io.EOF
	}
	in.once.Do(func() {
		in.chunks = make(chan []byte)
		go in.copy(ctx)
	})
	select {
	case b, ok := <-in.chunks:
		if !ok {
			return nil, io.EOF
		}
		return b, nil
	case <-ctx.Done():
		return nil, errors.Join(errKilled, ctx.Err())
	}
}

// copy ends with the read under way when ctx ends.
func (in *input) copy(ctx context.Context) {
	defer close(in.chunks)
	for {
		buf := make([]byte, 32<<10)
		n, err := in.r.Read(buf)
		if n > 0 {
			select {
			case in.chunks <- buf[:n]:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}
