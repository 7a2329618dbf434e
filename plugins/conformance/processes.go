package conformance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func processIDsAreUnique(s *suite) {
	rt := s.running(forever)
	if err := rt.CreateProcess(s.ctx, "job", s.opts.Container, sh("exit 3")); err != nil {
		s.Fatalf("create: %v", err)
	}
	for _, id := range []string{"job", s.opts.Container} {
		if err := rt.CreateProcess(s.ctx, id, s.opts.Container, sh("true")); !errors.Is(err, drivers.ErrInvalidArgument) {
			s.Errorf("create with the id %q again: %v, want an invalid argument", id, err)
		}
	}
	if err := rt.StartProcess(s.ctx, "job"); err != nil {
		s.Fatalf("start: %v", err)
	}
	if exit := s.wait(rt, "job"); exit.Code != 3 {
		s.Errorf("exit %s, want code 3", codeOf(exit))
	}
	if err := rt.StartProcess(s.ctx, "job"); err == nil {
		s.Errorf("second start of a process that is not an init process: no error")
	}
}

func unknownNamesAreNotFound(s *suite) {
	rt := s.running(forever)
	_, waitErr := rt.Wait(s.ctx, "nobody")
	_, execErr := rt.Exec(s.ctx, "nowhere", sh("true"), drivers.Stdio{})
	_, attachErr := rt.Attach(s.ctx, "nobody", drivers.Stdio{})
	for name, err := range map[string]error{
		"wait":           waitErr,
		"exec":           execErr,
		"attach":         attachErr,
		"start":          rt.StartProcess(s.ctx, "nobody"),
		"kill":           rt.Kill(s.ctx, "nobody", 15),
		"resize":         rt.Resize(s.ctx, "nobody", drivers.TerminalSize{Width: 1, Height: 1}),
		"create process": rt.CreateProcess(s.ctx, "p", "nowhere", sh("true")),
	} {
		if !errors.Is(err, drivers.ErrNotFound) && !s.mayLack(name, err) {
			s.Errorf("%s: %v, want not found", name, err)
		}
	}
}

func exitCodeReachesEveryWaiter(s *suite) {
	rt := s.running("sleep 0.5; exit 42")
	const waiters = 3
	exits := make(chan drivers.ExitStatus, waiters)
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			exit, err := rt.Wait(s.ctx, s.opts.Container)
			if err != nil {
				s.Errorf("wait: %v", err)
			}
			exits <- exit
		})
	}
	wg.Wait()
	close(exits)
	late := s.wait(rt, s.opts.Container)
	if late.Code != 42 || late.Signal != 0 || late.FinishedAt.IsZero() {
		s.Errorf("exit %s at %s, want code 42", codeOf(late), late.FinishedAt)
	}
	for exit := range exits {
		if !exit.FinishedAt.Equal(late.FinishedAt) || exit.Code != late.Code {
			s.Errorf("one waiter got %+v, a late one %+v", exit, late)
		}
	}
	// The machine goes on without the process.
	s.wantState(rt, drivers.StateRunning)
	snap, err := rt.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	if p, _ := snap.Process(s.opts.Container); p.State != drivers.ProcessExited || p.Exit == nil || p.Exit.Code != 42 {
		s.Errorf("process %+v, want it exited with 42", p)
	}
}

func exitedInitCanBeStartedAgain(s *suite) {
	rt := s.running("exit 1")
	first := s.wait(rt, s.opts.Container)
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("second start: %v", err)
	}
	second := s.wait(rt, s.opts.Container)
	if second.Code != 1 || !second.FinishedAt.After(first.FinishedAt) {
		s.Errorf("second exit %+v, first %+v", second, first)
	}
}

func signalledProcessExits(s *suite) {
	rt := s.running(forever)
	for _, signal := range []int{9, 15, 2} {
		id := "sleeper-" + string(rune('a'+signal))
		spec := drivers.ProcessSpec{Args: []string{"/bin/sleep", "1000"}}
		if err := rt.CreateProcess(s.ctx, id, s.opts.Container, spec); err != nil {
			s.Fatalf("create: %v", err)
		}
		if err := rt.StartProcess(s.ctx, id); err != nil {
			s.Fatalf("start: %v", err)
		}
		if err := rt.Kill(s.ctx, id, signal); err != nil {
			s.Fatalf("kill with %d: %v", signal, err)
		}
		if exit := s.wait(rt, id); exit.Code != 128+signal || exit.Signal != signal {
			s.Errorf("after signal %d: %s", signal, codeOf(exit))
		}
	}
	if err := rt.Kill(s.ctx, s.opts.Container, 1000); !errors.Is(err, drivers.ErrInvalidArgument) {
		s.Errorf("signal 1000: %v, want an invalid argument", err)
	}
}

// exec runs a script to its end and returns what it printed.
func (s *suite) exec(rt drivers.Runtime, spec drivers.ProcessSpec, stdin io.Reader) (exit drivers.ExitStatus, stdout, stderr string) {
	s.Helper()
	var out, errs bytes.Buffer
	exit, err := rt.Exec(s.ctx, s.opts.Container, spec, drivers.Stdio{Stdin: stdin, Stdout: &out, Stderr: &errs})
	if err != nil {
		s.Fatalf("exec of %q: %v", spec.Args, err)
	}
	return exit, out.String(), errs.String()
}

func execCarriesStdio(s *suite) {
	s.need(drivers.CapabilityExec)
	rt := s.running(forever)
	// Every byte there is, many times over, more than any buffer on the way holds.
	data := make([]byte, 3<<20+17)
	for i := range data {
		data[i] = byte(i ^ i>>8 ^ i>>16)
	}
	exit, out, _ := s.exec(rt, drivers.ProcessSpec{Args: []string{"/bin/cat"}}, bytes.NewReader(data))
	if exit.Code != 0 || out != string(data) {
		s.Errorf("cat: %s, %d bytes back of %d, the same: %t", codeOf(exit), len(out), len(data), out == string(data))
	}
	// Without a stdin there is the end of it at once.
	if exit, out, _ := s.exec(rt, drivers.ProcessSpec{Args: []string{"/bin/cat"}}, nil); exit.Code != 0 || out != "" {
		s.Errorf("cat of no stdin: %s, %q", codeOf(exit), out)
	}
}

func execSeparatesOutputs(s *suite) {
	s.need(drivers.CapabilityExec)
	rt := s.running(forever)
	exit, out, errs := s.exec(rt, sh("echo to stdout; echo to stderr >&2"), nil)
	if exit.Code != 0 || out != "to stdout\n" || errs != "to stderr\n" {
		s.Errorf("%s, stdout %q, stderr %q", codeOf(exit), out, errs)
	}
}

func execReportsExitCode(s *suite) {
	s.need(drivers.CapabilityExec)
	rt := s.running(forever)
	for _, code := range []string{"0", "1", "125", "255"} {
		exit, _, _ := s.exec(rt, sh("exit "+code), nil)
		if got := codeOf(exit); got != "code "+code+", signal 0" {
			s.Errorf("exit %s: got %s", code, got)
		}
	}
}

func execUsesEnvAndWorkingDir(s *suite) {
	s.need(drivers.CapabilityExec)
	rt := s.running(forever)
	spec := sh(`echo "$GREETING"; pwd`)
	spec.Env = append(spec.Env, drivers.EnvVar{Name: "GREETING", Value: "grüß dich = \"x\""})
	spec.WorkingDir = "/tmp/made/for/it"
	if exit, out, errs := s.exec(rt, spec, nil); exit.Code != 0 || out != "grüß dich = \"x\"\n/tmp/made/for/it\n" {
		s.Errorf("%s, stdout %q, stderr %q", codeOf(exit), out, errs)
	}
}

func execPassesSignals(s *suite) {
	s.need(drivers.CapabilityExec)
	rt := s.running(forever)
	signals := make(chan int)
	out := newWatched("ready")
	done := make(chan drivers.ExitStatus, 1)
	go func() {
		exit, err := rt.Exec(s.ctx, s.opts.Container, sh("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"),
			drivers.Stdio{Stdout: out, Signals: signals})
		if err != nil {
			s.Errorf("exec: %v", err)
		}
		done <- exit
	}()
	s.receive(out.seen, "the script is ready")
	select {
	case signals <- 15:
	case <-s.ctx.Done():
		s.Fatalf("nobody takes the signal")
	}
	if exit := <-done; exit.Code != 9 {
		s.Errorf("exit %s, want code 9 of the trap", codeOf(exit))
	}
}

func execWithTerminal(s *suite) {
	s.need(drivers.CapabilityExec, drivers.CapabilityTerminal)
	rt := s.running(forever)
	spec := sh("while read x; do stty size; done")
	spec.Terminal = true
	spec.TerminalSize = drivers.TerminalSize{Width: 100, Height: 40}
	resize := make(chan drivers.TerminalSize)
	in, keys := io.Pipe()
	defer keys.Close()
	first, second := newWatched("40 100"), newWatched("50 120")
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	go func() {
		_, err := rt.Exec(ctx, s.opts.Container, spec,
			drivers.Stdio{Stdin: in, Stdout: io.MultiWriter(first, second), Resize: resize})
		done <- err
	}()
	s.typeUntil(keys, first.seen, "the terminal's first size")
	select {
	case resize <- drivers.TerminalSize{Width: 120, Height: 50}:
	case <-s.ctx.Done():
		s.Fatalf("nobody takes the new size")
	}
	s.typeUntil(keys, second.seen, "the terminal's new size")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		s.Errorf("cancelled exec: %v", err)
	}
}

// typeUntil presses return until seen is closed.
func (s *suite) typeUntil(keys io.Writer, seen <-chan struct{}, what string) {
	s.Helper()
	s.within(30*time.Second, what, func() bool {
		if _, err := io.WriteString(keys, "\n"); err != nil {
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

func cancelledExecIsKilled(s *suite) {
	s.need(drivers.CapabilityExec, drivers.CapabilityStatistics)
	rt := s.running(forever)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	out := newWatched("ready")
	done := make(chan error, 1)
	go func() {
		_, err := rt.Exec(ctx, s.opts.Container, sh("echo ready; sleep 1000"), drivers.Stdio{Stdout: out})
		done <- err
	}()
	s.receive(out.seen, "the script is ready")
	before := s.processes(rt)
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			s.Errorf("cancelled exec: %v, want it to say so", err)
		}
	case <-s.ctx.Done():
		s.Fatalf("a cancelled exec does not return")
	}
	s.within(10*time.Second, "the process is gone", func() bool { return s.processes(rt) < before })
}

// processes returns how many there are in the container.
func (s *suite) processes(rt drivers.Runtime) uint64 {
	s.Helper()
	stats, err := rt.Statistics(s.ctx)
	if err != nil {
		s.Fatalf("statistics: %v", err)
	}
	return stats.Containers[s.opts.Container].Processes
}

func execOfMissingProgramFails(s *suite) {
	s.need(drivers.CapabilityExec)
	rt := s.running(forever)
	exit, err := rt.Exec(s.ctx, s.opts.Container, drivers.ProcessSpec{Args: []string{"/no/such/program"}}, drivers.Stdio{})
	if err == nil && exit.Code != 127 {
		s.Errorf("exec of a program that is not there: %s, want an error or code 127", codeOf(exit))
	}
	if _, err := rt.Exec(s.ctx, s.opts.Container, drivers.ProcessSpec{}, drivers.Stdio{}); !errors.Is(err, drivers.ErrInvalidArgument) {
		s.Errorf("exec of nothing: %v, want an invalid argument", err)
	}
}

func attachLeavesProcess(s *suite) {
	s.need(drivers.CapabilityAttach)
	rt := s.running("while :; do echo tick; sleep 0.2; done")
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	out := newWatched("tick")
	done := make(chan error, 1)
	go func() {
		_, err := rt.Attach(ctx, s.opts.Container, drivers.Stdio{Stdout: out})
		done <- err
	}()
	s.receive(out.seen, "output of the process")
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			s.Errorf("cancelled attach: %v", err)
		}
	case <-s.ctx.Done():
		s.Fatalf("a cancelled attach does not return")
	}
	snap, err := rt.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	if p, _ := snap.Process(s.opts.Container); p.State != drivers.ProcessRunning {
		s.Errorf("after the attach the process is %s", p.State)
	}
}

// receive waits until the channel is closed.
func (s *suite) receive(ch <-chan struct{}, what string) {
	s.Helper()
	select {
	case <-ch:
	case <-s.ctx.Done():
		s.Fatalf("%s: %v", what, s.ctx.Err())
	}
}

// watched is a Writer that tells when it has seen a text.
type watched struct {
	text string
	seen chan struct{}

	mu   sync.Mutex
	tail string
	once sync.Once
}

func newWatched(text string) *watched {
	return &watched{text: text, seen: make(chan struct{})}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tail += string(p)
	if strings.Contains(w.tail, w.text) {
		w.once.Do(func() { close(w.seen) })
	}
	w.tail = w.tail[max(0, len(w.tail)-len(w.text)):]
	return len(p), nil
}
