package conformance

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// begin creates and starts a further process.
func (s *suite) begin(rt drivers.Runtime, id string, spec drivers.ProcessSpec) {
	s.Helper()
	if err := rt.CreateProcess(s.ctx, id, s.opts.Container, spec); err != nil {
		s.Fatalf("create %s: %v", id, err)
	}
	if err := rt.StartProcess(s.ctx, id); err != nil {
		s.Fatalf("start %s: %v", id, err)
	}
}

func attachedInputReachesProcess(s *suite) {
	s.need(drivers.CapabilityAttach, drivers.CapabilityStdin)
	rt := s.running(forever)
	if _, err := rt.Attach(s.ctx, s.opts.Container, drivers.Stdio{Stdin: strings.NewReader("x")}); !errors.Is(err, drivers.ErrUnsupported) {
		s.Errorf("attach with input to a process without stdin: %v, want not supported", err)
	}
	spec := drivers.ProcessSpec{Args: []string{"cat"}, Env: sh("").Env, Stdin: true, StdinOnce: true}
	s.begin(rt, "once", spec)
	out := newWatched("typed")
	exit, err := rt.Attach(s.ctx, "once", drivers.Stdio{Stdin: strings.NewReader("typed\n"), Stdout: out})
	if err != nil || exit.Code != 0 {
		s.Fatalf("attach until the end of input: %s, %v", codeOf(exit), err)
	}
	s.receive(out.seen, "the process's answer")

	// With a stdin that stays open, the next client goes on where one has left.
	spec.StdinOnce = false
	s.begin(rt, "open", spec)
	for _, text := range []string{"first", "second"} {
		keys, typed := io.Pipe()
		out := newWatched(text)
		done := make(chan error, 1)
		go func() {
			_, err := rt.Attach(s.ctx, "open", drivers.Stdio{Stdin: keys, Stdout: out})
			done <- err
		}()
		if _, err := io.WriteString(typed, text+"\n"); err != nil {
			s.Fatalf("type: %v", err)
		}
		s.receive(out.seen, "the answer to "+text)
		_ = typed.Close()
		if text == "second" {
			if err := rt.Kill(s.ctx, "open", 9); err != nil {
				s.Errorf("kill: %v", err)
			}
			if err := <-done; err != nil {
				s.Errorf("attach to the end: %v", err)
			}
		}
	}
}

func severalAttachedSeeTheSame(s *suite) {
	s.need(drivers.CapabilityAttach, drivers.CapabilityStdin)
	rt := s.running(forever)
	s.begin(rt, "talk", drivers.ProcessSpec{Args: []string{"cat"}, Env: sh("").Env, Stdin: true})
	const clients = 3
	outs := make([]*watched, clients)
	done := make(chan drivers.ExitStatus, clients)
	var keys io.WriteCloser
	for i := range clients {
		outs[i] = newWatched("hello")
		stdio := drivers.Stdio{Stdout: outs[i]}
		if i == 0 {
			r, w := io.Pipe()
			stdio.Stdin, keys = r, w
		}
		go func() {
			exit, err := rt.Attach(s.ctx, "talk", stdio)
			if err != nil {
				s.Errorf("attach: %v", err)
			}
			done <- exit
		}()
	}
	for i := range outs {
		s.typeUntilText(keys, "hello", outs[i].seen)
	}
	if err := rt.Kill(s.ctx, "talk", 9); err != nil {
		s.Fatalf("kill: %v", err)
	}
	for range clients {
		if exit := <-done; exit.Code != 137 {
			s.Errorf("exit %s, want 137", codeOf(exit))
		}
	}
	_ = keys.Close()
}

// typeUntilText types a line again and again until it has been seen: when a
// client has come to be attached is told by nothing else.
func (s *suite) typeUntilText(keys io.Writer, text string, seen <-chan struct{}) {
	s.Helper()
	s.within(30*time.Second, "an attached client sees "+text, func() bool {
		if _, err := io.WriteString(keys, text+"\n"); err != nil {
			s.Fatalf("type: %v", err)
		}
		select {
		case <-seen:
			return true
		default:
			return false
		}
	})
}
