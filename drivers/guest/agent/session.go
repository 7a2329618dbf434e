//go:build linux

package agent

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// session is a process that does not depend on the host being there: what runs
// in a container when the host's side is killed goes on, and is found again.
type session struct {
	id     string
	run    uint64
	output *backlog

	// The process's ends of what a Follow passes on.
	stdin   *io.PipeWriter // nil without one
	signals chan int
	resizes chan drivers.TerminalSize

	exited chan struct{} // closed once exit or err is set
	exit   drivers.ExitStatus
	err    error

	mu        sync.Mutex
	pid       int // 0 until it runs
	startedAt time.Time
	told      bool // a Follow was told the exit
	follower  *follower
}

// follower is a Follow under way.
type follower struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin starts a process, or returns the session of the one under its id whose
// end the host has not been told.
func (g *guest) begin(ctx context.Context, id, container string, spec drivers.ProcessSpec, stdin bool) (*session, error) {
	g.mu.Lock()
	if s := g.sessions[id]; s != nil && !s.over() {
		g.mu.Unlock()
		return s, s.up()
	}
	g.runs++
	s := &session{
		id: id, run: g.runs, output: newBacklog(),
		signals: make(chan int), resizes: make(chan drivers.TerminalSize),
		exited: make(chan struct{}),
	}
	stdio := drivers.Stdio{
		Stdout: s.output.writer(false), Stderr: s.output.writer(true),
		Signals: s.signals, Resize: s.resizes,
	}
	var input *io.PipeReader
	if stdin {
		input, s.stdin = io.Pipe()
		stdio.Stdin = input
	}
	g.sessions[id] = s
	g.mu.Unlock()

	started := make(chan struct{})
	go func() {
		// The process is nobody's but its own: only a signal ends it, or the power.
		s.exit, s.err = g.run(context.WithoutCancel(ctx), id, container, spec, stdio, func(pid int, at time.Time) {
			s.mu.Lock()
			s.pid, s.startedAt = pid, at
			s.mu.Unlock()
			close(started)
		})
		if input != nil {
			_ = input.Close()
		}
		s.output.end()
		close(s.exited)
	}()
	select {
	case <-started:
		return s, nil
	case <-s.exited:
		select {
		case <-started: // and it is over already
			return s, nil
		default:
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.sessions, id)
		return nil, s.err
	}
}

// up says whether the process of a session that somebody else began is up.
func (s *session) up() error {
	if pid, _ := s.process(); pid == 0 {
		return fmt.Errorf("%w: process %q is being started", drivers.ErrInvalidState, s.id)
	}
	return nil
}

// process returns the process's number and when it started.
func (s *session) process() (pid int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid, s.startedAt
}

// over reports whether the host knows how the process ended.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

// session returns a session that was begun.
func (g *guest) session(id string, run uint64) (*session, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.sessions[id]; s != nil && s.run == run {
		return s, nil
	}
	return nil, fmt.Errorf("%w: run %d of process %q", drivers.ErrNotFound, run, id)
}

// follow carries the process's stdio, from a position on, until its exit.
func (s *session) follow(ctx context.Context, from position, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
	ctx, leave := s.enter(ctx)
	defer leave()
	started(s.process())
	if s.stdin != nil && stdio.Stdin != nil {
		// Ends with the Follow, whose stdin then fails, or with the process.
		go func() {
			if _, err := io.Copy(s.stdin, stdio.Stdin); err == nil {
				_ = s.stdin.Close()
			}
		}()
	}
	go s.control(ctx, stdio)
	s.output.kept(from)
	for seq := uint64(0); ; {
		pieces, ended := s.output.after(ctx, seq)
		if ctx.Err() != nil {
			return drivers.ExitStatus{}, ctx.Err()
		}
		for _, p := range pieces {
			seq = p.seq
			w := stdio.Stdout
			if p.stderr {
				w = stdio.Stderr
			}
			if _, err := w.Write(p.rest(from)); err != nil {
				return drivers.ExitStatus{}, err
			}
		}
		if ended {
			break
		}
	}
	<-s.exited // at once
	s.mu.Lock()
	s.told = true
	s.mu.Unlock()
	return s.exit, s.err
}

// enter takes the place of an earlier follower once that has left.
func (s *session) enter(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	me := &follower{cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	before := s.follower
	s.follower = me
	s.mu.Unlock()
	if before != nil {
		before.cancel()
		<-before.done
	}
	return ctx, func() {
		cancel()
		s.mu.Lock()
		if s.follower == me {
			s.follower = nil
		}
		s.mu.Unlock()
		close(me.done)
	}
}

// control passes signals and sizes on.
func (s *session) control(ctx context.Context, stdio drivers.Stdio) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.exited:
			return
		case sig := <-stdio.Signals:
			select {
			case s.signals <- sig:
			case <-s.exited:
			case <-ctx.Done():
			}
		case size := <-stdio.Resize:
			select {
			case s.resizes <- size:
			case <-s.exited:
			case <-ctx.Done():
			}
		}
	}
}
