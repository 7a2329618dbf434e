package linuxvm

import (
	"context"
	"fmt"
	"io"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Exec runs a process on the caller's streams. It has no name in the snapshot
// and no log.
func (s *sandbox) Exec(ctx context.Context, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	s.mu.Lock()
	err := s.require("exec", drivers.StateRunning)
	if err == nil {
		if err = s.checkSpec(container, spec); err != nil {
			err = fmt.Errorf("exec: %w", err)
		}
	}
	if err != nil {
		s.mu.Unlock()
		return drivers.ExitStatus{}, err
	}
	v := s.vm
	s.execs++
	// No container's name has a colon, so it is no init process's id either.
	id := fmt.Sprintf("exec:%d", s.execs)
	s.mu.Unlock()

	exit, err := s.pump(ctx, v, id, container, spec, stdio)
	if err != nil {
		if reason, gone := v.gone(); gone && ctx.Err() == nil {
			err = fmt.Errorf("%s (%w)", reason, err)
		}
		return drivers.ExitStatus{}, fmt.Errorf("exec in container %q: %w", container, err)
	}
	return exit, nil
}

// Attach copies what a process prints to the caller until it exits, and the
// caller's input to the process.
func (s *sandbox) Attach(ctx context.Context, id string, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	s.mu.Lock()
	err := s.require("attach", drivers.StateRunning, drivers.StatePaused)
	var p *process
	if err == nil {
		p, err = s.running(id)
	}
	if err == nil && stdio.Stdin != nil && p.run.input == nil {
		err = fmt.Errorf("process %q: %w: it runs without stdin; use exec for an interactive process", id, drivers.ErrUnsupported)
	}
	if err != nil {
		s.mu.Unlock()
		return drivers.ExitStatus{}, fmt.Errorf("attach: %w", err)
	}
	r := p.run
	a := r.output.attach()
	s.mu.Unlock()
	defer r.output.detach(a)
	if stdio.Stdin != nil {
		// Ends with the client's input, or with the process.
		go r.input.Feed(stdio.Stdin)
		defer r.input.Left()
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if stdio.Resize != nil || stdio.Signals != nil {
		go s.control(ctx, id, stdio)
	}
	for {
		queue, lagged, ended := a.take()
		for _, q := range queue {
			w := stdio.Stdout
			if q.stderr {
				w = stdio.Stderr
			}
			if err := write(w, q.data); err != nil {
				return drivers.ExitStatus{}, fmt.Errorf("attach to process %q: %w", id, err)
			}
		}
		if lagged {
			return drivers.ExitStatus{}, fmt.Errorf("attach to process %q: %w: its output was not read fast enough; its log has all of it",
				id, drivers.ErrExhausted)
		}
		if ended {
			break
		}
		select {
		case <-a.news:
		case <-ctx.Done():
			return drivers.ExitStatus{}, ctx.Err()
		}
	}
	select {
	case <-r.done:
		return r.exit, nil
	case <-ctx.Done():
		return drivers.ExitStatus{}, ctx.Err()
	}
}

// control passes on what an attached client does to the process.
func (s *sandbox) control(ctx context.Context, id string, stdio drivers.Stdio) {
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case size, ok := <-stdio.Resize:
			if !ok {
				stdio.Resize = nil
				continue
			}
			err = s.Resize(ctx, id, size)
		case signal, ok := <-stdio.Signals:
			if !ok {
				stdio.Signals = nil
				continue
			}
			err = s.Kill(ctx, id, signal)
		}
		if err != nil {
			s.log.DebugContext(ctx, "an attached client's request failed", "process", id, "error", err)
		}
	}
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}
