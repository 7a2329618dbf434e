//go:build linux

package guest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

func (v *vm) testExitCodes(t *testing.T) {
	for script, want := range map[string]drivers.ExitStatus{
		"true":         {},
		"exit 7":       {Code: 7},
		"kill -9 $$":   {Code: 137, Signal: 9},
		"kill -TERM 0": {Code: 143, Signal: 15},
	} {
		got := v.exec(t, "x", mainCtr, sh(script)).exit
		if time.Since(got.FinishedAt).Abs() > time.Minute {
			t.Errorf("%q: finished at %v", script, got.FinishedAt)
		}
		got.FinishedAt = time.Time{}
		if got != want {
			t.Errorf("%q: exit = %+v, want %+v", script, got, want)
		}
	}
}

func (v *vm) testCannotStart(t *testing.T) {
	tests := map[string]struct {
		spec drivers.ProcessSpec
		kind error
		text string
	}{
		"not in PATH":    {drivers.ProcessSpec{Args: []string{"foo"}}, drivers.ErrNotFound, `exec: "foo": executable file not found in $PATH`},
		"no such path":   {drivers.ProcessSpec{Args: []string{"/bin/foo"}}, drivers.ErrNotFound, `exec: "/bin/foo": no such file`},
		"no interpreter": {drivers.ProcessSpec{Args: []string{"nointerp"}}, drivers.ErrNotFound, "interpreter"},
		"no run bit":     {drivers.ProcessSpec{Args: []string{"/bin/noexec"}}, drivers.ErrInvalidArgument, "permission denied"},
		"a directory":    {drivers.ProcessSpec{Args: []string{"/bin"}}, drivers.ErrInvalidArgument, "is a directory"},
		"nothing":        {drivers.ProcessSpec{}, drivers.ErrInvalidArgument, "no command"},
		"cwd a file":     {drivers.ProcessSpec{Args: []string{"true"}, WorkingDir: "/etc/passwd"}, drivers.ErrInvalidArgument, `working directory "/etc/passwd"`},
		"cwd relative":   {drivers.ProcessSpec{Args: []string{"true"}, WorkingDir: "etc"}, drivers.ErrInvalidArgument, "not absolute"},
		"no such user":   {drivers.ProcessSpec{Args: []string{"true"}, User: "nobody"}, drivers.ErrInvalidArgument, `user "nobody"`},
		"no such cap":    {drivers.ProcessSpec{Args: []string{"true"}, Capabilities: []string{"CAP_FLY"}}, drivers.ErrInvalidArgument, "CAP_FLY"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, in := range []struct{ id, container string }{
				{"x", mainCtr}, // as a further process
				{other, other}, // as an init process
			} {
				_, err := v.try(t, in.id, in.container, tt.spec, drivers.Stdio{})
				if !errors.Is(err, tt.kind) || err == nil || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("%s: error = %v, want %v with %q", in.container, err, tt.kind, tt.text)
				}
			}
		})
	}
	if _, err := v.try(t, "x", other, sh("true"), drivers.Stdio{}); !errors.Is(err, drivers.ErrInvalidState) {
		t.Errorf("a process in a container that does not run: %v, want %v", err, drivers.ErrInvalidState)
	}
}

func (v *vm) testUsers(t *testing.T) {
	tests := map[string]struct {
		spec drivers.ProcessSpec
		want string
	}{
		"root":       {drivers.ProcessSpec{}, "0 0 0 /root"},
		"by name":    {drivers.ProcessSpec{User: "user"}, "1000 1000 1000 2000 /home/user"},
		"by number":  {drivers.ProcessSpec{User: "1000:2000"}, "1000 2000 2000 /home/user"},
		"unknown id": {drivers.ProcessSpec{User: "77:78"}, "77 78 78 /"},
		"more":       {drivers.ProcessSpec{User: "77", SupplementalGroups: []uint32{5, 6}}, "77 0 0 5 6 /"},
	}
	for name, tt := range tests {
		tt.spec.Args = []string{"sh", "-c", `echo $(id -u) $(id -g) $(id -G) $HOME`}
		if got := v.exec(t, "x", mainCtr, tt.spec).out; got != tt.want+"\n" {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if got := v.exec(t, other, other, tt.spec).out; got != tt.want+"\n" {
			t.Errorf("%s, as init: %q, want %q", name, got, tt.want)
		}
	}
}

func (v *vm) testEnvironment(t *testing.T) {
	spec := drivers.ProcessSpec{Args: []string{"env"}, Env: []drivers.EnvVar{{Name: "A", Value: "b=c d"}}}
	want := "A=b=c d\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=sandbox\nHOME=/root\n"
	if got := v.exec(t, "x", mainCtr, spec).out; got != want {
		t.Errorf("environment = %q, want %q", got, want)
	}
	spec.Env = []drivers.EnvVar{{Name: "HOME", Value: "/x"}, {Name: "PATH", Value: "/bin"}, {Name: "HOSTNAME", Value: "y"}}
	if got, want := v.exec(t, "x", mainCtr, spec).out, "HOME=/x\nPATH=/bin\nHOSTNAME=y\n"; got != want {
		t.Errorf("environment = %q, want %q", got, want)
	}
	spec = drivers.ProcessSpec{Args: []string{"pwd"}, WorkingDir: "/made/up"}
	if got := v.exec(t, "x", mainCtr, spec).out; got != "/made/up\n" {
		t.Errorf("working directory = %q", got)
	}
}

func (v *vm) testCapabilities(t *testing.T) {
	const show = `grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\t\n'`
	docker := "CapInh:0000000000000000CapPrm:00000000a80425fbCapEff:00000000a80425fbCapBnd:00000000a80425fbCapAmb:0000000000000000NoNewPrivs:0"
	tests := map[string]struct {
		spec drivers.ProcessSpec
		want string
	}{
		"default": {drivers.ProcessSpec{}, docker},
		"none": {drivers.ProcessSpec{Capabilities: []string{}, NoNewPrivileges: true},
			"CapInh:0000000000000000CapPrm:0000000000000000CapEff:0000000000000000CapBnd:0000000000000000CapAmb:0000000000000000NoNewPrivs:1"},
		"one, not root": {drivers.ProcessSpec{User: "user", Capabilities: []string{"CAP_NET_RAW"}},
			"CapInh:0000000000000000CapPrm:0000000000000000CapEff:0000000000000000CapBnd:0000000000002000CapAmb:0000000000000000NoNewPrivs:0"},
	}
	for name, tt := range tests {
		tt.spec.Args = sh(show).Args
		if got := v.exec(t, "x", mainCtr, tt.spec).out; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		if got := v.exec(t, other, other, tt.spec).out; got != tt.want {
			t.Errorf("%s, as init: %s, want %s", name, got, tt.want)
		}
	}
}

func (v *vm) testStdin(t *testing.T) {
	data := make([]byte, 1<<20)
	rand.Read(data)
	for _, in := range []struct{ id, container string }{{"x", mainCtr}, {other, other}} {
		var out bytes.Buffer
		// Not one buffer of the test's but as it comes, and an end that cat must see.
		stdin := io.MultiReader(bytes.NewReader(data[:1]), bytes.NewReader(data[1:]))
		r, err := v.try(t, in.id, in.container, drivers.ProcessSpec{Args: []string{"cat"}}, drivers.Stdio{Stdin: stdin, Stdout: &out})
		if err != nil || r.exit.Code != 0 {
			t.Fatalf("%s: exit %+v, %v", in.container, r.exit, err)
		}
		if !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%s: %d bytes came back changed, of %d", in.container, out.Len(), len(data))
		}
	}
	r := v.exec(t, "x", mainCtr, drivers.ProcessSpec{Args: []string{"wc", "-c"}})
	if strings.TrimSpace(r.out) != "0" {
		t.Errorf("a process without stdin read %q bytes", r.out)
	}
	// A process that does not read its input ends all the same.
	if r, err := v.try(t, "x", mainCtr, sh("exit 4"), drivers.Stdio{Stdin: bytes.NewReader(data)}); err != nil || r.exit.Code != 4 {
		t.Errorf("exit = %+v, %v", r.exit, err)
	}
}

func (v *vm) testBigOutput(t *testing.T) {
	r, err := v.try(t, "x", mainCtr, sh("head -c 2000000 /dev/urandom | tee /dev/fd/2 | sha256sum >/data/sum; cat /data/sum >&2"), drivers.Stdio{})
	if err != nil {
		t.Fatal(err)
	}
	all, want := r.err[:len(r.err)-68], strings.Fields(r.err[len(r.err)-68:])[0]
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(all))); got != want || len(all) != 2000000 {
		t.Errorf("%d bytes with digest %s came, want %s", len(all), got, want)
	}
}

func (v *vm) testBackpressure(t *testing.T) {
	// A reader that takes a little and then nothing until it is told to.
	gate := make(chan struct{})
	var once sync.Once
	full := make(chan struct{})
	w := writerFunc(func(p []byte) (int, error) {
		once.Do(func() { close(full) })
		<-gate
		return len(p), nil
	})
	done := make(chan drivers.ExitStatus, 1)
	go func() {
		defer once.Do(func() { close(full) })
		r, err := v.try(t, "flood", mainCtr, sh("head -c 6000000 /dev/zero; echo end >/data/flood"), drivers.Stdio{Stdout: w})
		if err != nil {
			t.Error(err)
		}
		done <- r.exit
	}()
	<-full
	// Others are served meanwhile, and the writer has not come to its end.
	if got := v.sh(t, mainCtr, "sleep 0.3; cat /data/flood 2>/dev/null || true"); got != "" {
		t.Errorf("the writer did not wait for its reader: %q", got)
	}
	close(gate)
	if exit := <-done; exit.Code != 0 {
		t.Errorf("exit = %+v", exit)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (v *vm) testStreamOwner(t *testing.T) {
	spec := sh("echo out >/dev/stdout; echo err >/dev/stderr")
	spec.User = "user"
	r := v.exec(t, "x", mainCtr, spec)
	if r.out != "out\n" || r.err != "err\n" || r.exit.Code != 0 {
		t.Errorf("result = %+v", r)
	}
}

func (v *vm) testBackgroundChild(t *testing.T) {
	start := time.Now()
	r := v.exec(t, "x", mainCtr, sh("sleep 1000 & echo $!"))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if r.out == "" || r.exit.Code != 0 {
		t.Errorf("result = %+v", r)
	}
	v.sh(t, mainCtr, "kill "+r.out)
}

func (v *vm) testCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := v.run(ctx, "x", mainCtr, sh("sleep 2000 & sleep 2000 & wait"), drivers.Stdio{}, func(*wire.Started) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
	v.eventually(t, mainCtr, `! ps | grep -q '[s]leep 2000'`)
	// The id is free again.
	v.exec(t, "x", mainCtr, sh("true"))
}

// eventually waits until a script in a container succeeds.
func (v *vm) eventually(t *testing.T, container, script string) {
	t.Helper()
	r := v.exec(t, "eventually", container, sh("for i in $(seq 100); do if "+script+"; then exit 0; fi; sleep 0.05; done; ps; exit 1"))
	if r.exit.Code != 0 {
		t.Errorf("%q never came true: %s%s", script, r.out, r.err)
	}
}

func (v *vm) testSignals(t *testing.T) {
	signals := make(chan int, 1)
	ready := make(chan struct{})
	out := writerFunc(func(p []byte) (int, error) {
		if string(p) == "ready\n" {
			close(ready)
		}
		return len(p), nil
	})
	done := make(chan drivers.ExitStatus, 1)
	go func() {
		exit, err := v.run(t.Context(), "trapper", mainCtr, sh(`trap 'exit 42' USR1; trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done`),
			drivers.Stdio{Stdout: out, Signals: signals}, nil)
		if err != nil {
			t.Error(err)
		}
		done <- exit
	}()
	<-ready
	if _, err := v.Agent.Signal(t.Context(), &agentpb.SignalRequest{Id: "trapper", Signal: int32(unix.SIGHUP)}); err != nil {
		t.Error(err)
	}
	for _, sig := range []int32{0, -9, 65, 1 << 30} {
		_, err := v.Agent.Signal(t.Context(), &agentpb.SignalRequest{Id: "trapper", Signal: sig})
		if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("signal %d: %v, want %v", sig, err, drivers.ErrInvalidArgument)
		}
	}
	if _, err := v.try(t, "trapper", mainCtr, sh("true"), drivers.Stdio{}); !errors.Is(err, drivers.ErrInvalidArgument) {
		t.Errorf("an id in use: %v, want %v", err, drivers.ErrInvalidArgument)
	}
	signals <- int(unix.SIGUSR1)
	if exit := <-done; exit.Code != 42 {
		t.Errorf("exit = %+v, want code 42", exit)
	}
	_, err := v.Agent.Signal(t.Context(), &agentpb.SignalRequest{Id: "trapper", Signal: 15})
	if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("a process that has exited: %v, want %v", err, drivers.ErrNotFound)
	}
}

// typist answers what a terminal shows with what to type next.
type typist struct {
	mu    sync.Mutex
	seen  strings.Builder
	steps []struct{ on, typed string }
	in    *io.PipeWriter
}

func (y *typist) Write(p []byte) (int, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.seen.Write(p)
	for len(y.steps) > 0 && strings.Contains(y.seen.String(), y.steps[0].on) {
		typed := y.steps[0].typed
		y.steps = y.steps[1:]
		go func() { _, _ = io.WriteString(y.in, typed) }()
	}
	return len(p), nil
}

func (v *vm) testTerminal(t *testing.T) {
	for _, in := range []struct{ id, container string }{{"x", mainCtr}, {other, other}} {
		t.Run(in.container, func(t *testing.T) {
			stdin, typed := io.Pipe()
			defer typed.Close()
			resize := make(chan drivers.TerminalSize, 1)
			y := &typist{in: typed, steps: []struct{ on, typed string }{
				{"READY", "tty; stty size; test -t 0 && test -t 1 && echo IS''ATTY; echo $TERM; sh -c 'echo SLE''EPS; exec sleep 100'\n"},
				// Only the job itself can tell that the terminal is its own: a Ctrl-C
				// that comes before is the shell's, which does not mind it.
				{"SLEEPS\r\n", "\x03"},
				{"^C", "echo AF''TER; stty size; exit 5\n"},
			}}
			spec := sh("echo READY; exec sh -i")
			spec.Terminal, spec.User, spec.TerminalSize = true, "user", drivers.TerminalSize{Width: 100, Height: 40}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			exit, err := v.run(ctx, in.id, in.container, spec, drivers.Stdio{Stdin: stdin, Stdout: y, Resize: resize},
				func(*wire.Started) { resize <- drivers.TerminalSize{Width: 123, Height: 45} })
			if err != nil || exit.Code != 5 {
				t.Errorf("exit = %+v, %v; the terminal showed %q", exit, err, y.seen.String())
			}
			for _, want := range []string{"/dev/pts/0", "45 123", "ISATTY", "xterm", "AFTER"} {
				if !strings.Contains(y.seen.String(), want) {
					t.Errorf("no %q in %q", want, y.seen.String())
				}
			}
		})
	}
}

func (v *vm) testTerminalHangup(t *testing.T) {
	spec := sh("sleep 3000 & echo started")
	spec.Terminal = true
	if r := v.exec(t, "x", mainCtr, spec); !strings.Contains(r.out, "started") || r.exit.Code != 0 {
		t.Errorf("result = %+v", r)
	}
	// The end of input is a control character on a terminal.
	spec = drivers.ProcessSpec{Args: []string{"cat"}, Terminal: true}
	r, err := v.try(t, "x", mainCtr, spec, drivers.Stdio{Stdin: strings.NewReader("line\n")})
	if err != nil || r.exit.Code != 0 {
		t.Errorf("exit = %+v, %v", r.exit, err)
	}
}

func (v *vm) testUnknown(t *testing.T) {
	if _, err := v.try(t, "x", "nobody", sh("true"), drivers.Stdio{}); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("container: %v, want %v", err, drivers.ErrNotFound)
	}
	_, err := v.Agent.Signal(t.Context(), &agentpb.SignalRequest{Id: "nobody", Signal: 9})
	if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("process: %v, want %v", err, drivers.ErrNotFound)
	}
	for _, req := range []*agentpb.CreateContainerRequest{
		{Name: "new", RootfsSerial: "none"},
	} {
		_, err := v.Agent.CreateContainer(t.Context(), req)
		if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("%v: %v, want %v", req, err, drivers.ErrNotFound)
		}
	}
	for _, req := range []*agentpb.CreateContainerRequest{
		{Name: "../new", RootfsSerial: "root0"},
		{Name: "", RootfsSerial: "root0"},
		{Name: mainCtr, RootfsSerial: "root0"},
		{Name: "new", RootfsSerial: "root0", Mounts: []*agentpb.Mount{{Volume: "none", Path: "/x"}}},
		{Name: "new", RootfsSerial: "root0", Mounts: []*agentpb.Mount{{Volume: "data", Path: "x"}}},
		{Name: "new", RootfsSerial: "root0", Mounts: []*agentpb.Mount{{Volume: "data", Path: "/x/.."}}},
	} {
		_, err := v.Agent.CreateContainer(t.Context(), req)
		if err := wire.FromStatus(err); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("%v: %v, want %v", req, err, drivers.ErrInvalidArgument)
		}
	}
}

func (v *vm) testMany(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r, err := v.try(t, fmt.Sprintf("many-%d", i), mainCtr, sh(fmt.Sprintf("echo %d; exit %d", i, i)), drivers.Stdio{})
			if err != nil || r.exit.Code != i || r.out != fmt.Sprintln(i) {
				t.Errorf("%d: %+v, %v", i, r, err)
			}
		})
	}
	wg.Wait()
}
