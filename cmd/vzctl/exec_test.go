package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

type execFunc = func(ctx context.Context, req *api.ExecStart, stdio drivers.Stdio, started func(pid int, at time.Time)) (drivers.ExitStatus, error)

func runs(f execFunc) *apitest.Backend { return &apitest.Backend{ExecFunc: f} }

func TestExecCarriesBothStreamsAndTheCode(t *testing.T) {
	b := runs(func(_ context.Context, req *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		started(1, time.Now())
		in, err := io.ReadAll(stdio.Stdin) // returns at the half-close
		fmt.Fprintf(stdio.Stdout, "%s|%s|%s|%s|%v|%s", req.GetObject().GetName(), req.GetContainer(), req.GetUser(), req.GetWorkingDir(), req.GetArgs(), in)
		for _, e := range req.GetEnv() {
			fmt.Fprintf(stdio.Stderr, "%s=%s;", e.GetName(), e.GetValue())
		}
		return drivers.ExitStatus{Code: 3}, err
	})
	out := vzctl(t, b, "a\x00\xffb", "exec", "-i", "web", "-c", "nginx", "-u", "www", "-w", "/srv", "-e", "A=b=c", "-e", "D=", "--", "sh", "-c", "exit 3", "-x")
	if want := "web|nginx|www|/srv|[sh -c exit 3 -x]|a\x00\xffb"; out.stdout != want {
		t.Errorf("stdout %q, want %q", out.stdout, want)
	}
	if want := "A=b=c;D=;"; out.stderr != want {
		t.Errorf("stderr %q, want %q", out.stderr, want)
	}
	if out.code != 3 {
		t.Errorf("exit code %d, want 3", out.code)
	}
}

func TestExecWithoutStdinGivesNone(t *testing.T) {
	b := runs(func(_ context.Context, _ *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		started(1, time.Now())
		if stdio.Stdin != nil {
			t.Error("there is a stdin")
		}
		return drivers.ExitStatus{}, nil
	})
	if out := vzctl(t, b, "typed ahead", "exec", "web", "--", "true"); out.code != exitDone {
		t.Errorf("%+v", out)
	}
}

func TestExecOfWhatCannotRunEndsAsInAShell(t *testing.T) {
	for _, tc := range []struct {
		err  error
		args []string
		here bool
		code int
	}{
		{drivers.ErrNotFound, []string{"web", "--", "nosuch"}, true, 127},
		{drivers.ErrInvalidArgument, []string{"web", "--", "/etc/passwd"}, true, 126},
		{drivers.ErrNotFound, []string{"web", "-c", "main", "--", "nosuch"}, true, 127},
		{drivers.ErrNotFound, []string{"web", "-c", "nosuch", "--", "true"}, true, exitNotFound},
		{drivers.ErrNotFound, []string{"web", "--", "true"}, false, exitNotFound},
		{drivers.ErrInvalidState, []string{"web", "--", "true"}, true, exitFailed},
	} {
		b := holds()
		if tc.here {
			b = holds(webJSON(t, time.Hour, nil))
		}
		b.ExecFunc = func(context.Context, *api.ExecStart, drivers.Stdio, func(int, time.Time)) (drivers.ExitStatus, error) {
			return drivers.ExitStatus{}, fmt.Errorf("%w: told why", tc.err)
		}
		out := vzctl(t, b, "", append([]string{"exec"}, tc.args...)...)
		if out.code != tc.code || !strings.Contains(out.stderr, "told why") {
			t.Errorf("%v, %v: %+v, want exit code %d", tc.args, tc.err, out, tc.code)
		}
	}
}

// onTerminal starts vzctl as a process of its own on a new terminal of 100×30.
func onTerminal(t *testing.T, b *apitest.Backend, args ...string) (keyboard *os.File, screen *bufio.Reader, cmd *exec.Cmd, restored func()) {
	t.Helper()
	_, socket := apitest.Serve(t, b)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), exe, append([]string{"--socket", socket}, args...)...)
	cmd.Env = append(os.Environ(), mainEnv+"=1", "TERM=xterm-test")
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(master.Close(), terminal.Close()) })
	if err := pty.Setsize(master, &pty.Winsize{Cols: 100, Rows: 30}); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What does not end leaves a read of the screen waiting.
	stuck := time.AfterFunc(20*time.Second, func() { _ = errors.Join(cmd.Process.Kill(), terminal.Close()) })
	t.Cleanup(func() { stuck.Stop() })
	return master, bufio.NewReader(master), cmd, func() {
		t.Helper()
		after, err := term.GetState(int(terminal.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if *after != *before {
			t.Errorf("the terminal was left as %+v, it was %+v", after, before)
		}
	}
}

func code(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

func TestOnATerminalKeysSizesAndCtrlCReachTheCommand(t *testing.T) {
	b := runs(func(_ context.Context, req *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		started(1, time.Now())
		size := req.GetTerminalSize()
		fmt.Fprintf(stdio.Stdout, "%v %s %dx%d\n", req.GetTerminal(), req.GetEnv()[0].GetValue(), size.GetWidth(), size.GetHeight())
		keys := make([]byte, 4)
		if _, err := io.ReadFull(stdio.Stdin, keys); err != nil {
			return drivers.ExitStatus{}, err
		}
		fmt.Fprintf(stdio.Stdout, "%q\n", keys)
		resized := <-stdio.Resize
		fmt.Fprintf(stdio.Stdout, "%dx%d\n", resized.Width, resized.Height)
		return drivers.ExitStatus{Code: 7}, nil
	})
	keyboard, screen, cmd, restored := onTerminal(t, b, "exec", "-it", "web", "--", "sh")
	expect := func(want string) {
		t.Helper()
		line, err := screen.ReadString('\n')
		if err != nil || strings.TrimRight(line, "\r\n") != want {
			t.Fatalf("the screen shows %q (%v), want %q", line, err, want)
		}
	}
	expect("true xterm-test 100x30")
	// Without raw mode the terminal would echo these, translate the return key
	// and end vzctl at Ctrl-C.
	if _, err := keyboard.WriteString("l\r\x03\x04"); err != nil {
		t.Fatal(err)
	}
	expect(`"l\r\x03\x04"`)
	if err := pty.Setsize(keyboard, &pty.Winsize{Cols: 132, Rows: 43}); err != nil {
		t.Fatal(err)
	}
	expect("132x43")
	if got := code(cmd.Wait()); got != 7 {
		t.Errorf("exit code %d, want 7", got)
	}
	restored()
}

func TestTheTerminalIsRestoredWhenExecFails(t *testing.T) {
	b := runs(func(context.Context, *api.ExecStart, drivers.Stdio, func(int, time.Time)) (drivers.ExitStatus, error) {
		return drivers.ExitStatus{}, fmt.Errorf("sandbox web: %w", drivers.ErrNotFound)
	})
	_, screen, cmd, restored := onTerminal(t, b, "exec", "-it", "web", "--", "sh")
	line, err := screen.ReadString('\n')
	if err != nil || !strings.Contains(line, "sandbox web: not found") {
		t.Errorf("the screen shows %q, %v", line, err)
	}
	if got := code(cmd.Wait()); got != exitNotFound {
		t.Errorf("exit code %d, want %d", got, exitNotFound)
	}
	restored()
}

func TestSignalsReachTheCommandAndTheTerminalIsRestored(t *testing.T) {
	for _, terminal := range []string{"-it", "-i"} {
		b := runs(func(_ context.Context, _ *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
			started(1, time.Now())
			fmt.Fprintln(stdio.Stdout, "up")
			number := <-stdio.Signals
			return drivers.ExitStatus{Code: 128 + number, Signal: number}, nil
		})
		_, screen, cmd, restored := onTerminal(t, b, "exec", terminal, "web", "--", "sh")
		if line, err := screen.ReadString('\n'); err != nil || !strings.HasPrefix(line, "up") {
			t.Fatalf("the screen shows %q, %v", line, err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := code(cmd.Wait()); got != 143 {
			t.Errorf("%s: exit code %d, want 143", terminal, got)
		}
		restored()
	}
}

func TestCtrlCWithoutATerminalIsASignalForTheCommand(t *testing.T) {
	b := runs(func(_ context.Context, _ *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		started(1, time.Now())
		fmt.Fprintln(stdio.Stdout, "up")
		number := <-stdio.Signals
		return drivers.ExitStatus{Code: 128 + number}, nil
	})
	keyboard, screen, cmd, restored := onTerminal(t, b, "exec", "web", "--", "sleep", "100")
	if line, err := screen.ReadString('\n'); err != nil || !strings.HasPrefix(line, "up") {
		t.Fatalf("the screen shows %q, %v", line, err)
	}
	if _, err := keyboard.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if got := code(cmd.Wait()); got != 130 {
		t.Errorf("exit code %d, want 130", got)
	}
	restored()
}

func TestACommandThatIgnoresSignalsIsGivenUpAtTheThird(t *testing.T) {
	ended := make(chan struct{})
	b := runs(func(ctx context.Context, _ *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		defer close(ended)
		started(1, time.Now())
		for n := 1; ; n++ {
			fmt.Fprintln(stdio.Stdout, "up", n)
			select {
			case <-stdio.Signals:
			case <-ctx.Done():
				return drivers.ExitStatus{}, ctx.Err()
			}
		}
	})
	_, screen, cmd, restored := onTerminal(t, b, "exec", "web", "--", "sleep", "100")
	for n := 1; n <= 3; n++ {
		if line, err := screen.ReadString('\n'); err != nil || !strings.HasPrefix(line, fmt.Sprint("up ", n)) {
			t.Fatalf("the screen shows %q, %v", line, err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if got := code(cmd.Wait()); got != exitInterrupted {
		t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
	<-ended
	restored()
}

func TestLargeInputReachesTheCommandWhole(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef\n"), 200_000)
	b := runs(func(_ context.Context, _ *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		started(1, time.Now())
		n, err := io.Copy(io.Discard, stdio.Stdin)
		fmt.Fprint(stdio.Stdout, n)
		return drivers.ExitStatus{}, err
	})
	if out := vzctl(t, b, string(data), "exec", "-i", "web", "--", "wc", "-c"); out.stdout != fmt.Sprint(len(data)) {
		t.Errorf("%+v", out)
	}
}
