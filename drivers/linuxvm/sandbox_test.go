package linuxvm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// world runs a test in virtual time: its deadlines take no time, and it fails
// if a goroutine is left behind.
func world(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// boot returns a booted sandbox that is ended with the test.
func boot(t *testing.T, h Hypervisor, dir string) drivers.Runtime {
	t.Helper()
	return bootWith(t, h, drivers.BootstrapRequest{Bundle: dir})
}

func bootWith(t *testing.T, h Hypervisor, req drivers.BootstrapRequest) drivers.Runtime {
	t.Helper()
	rt := newFake(h, Options{})
	bootIt(t, rt, req)
	return rt
}

// bootIt boots a sandbox that is ended with the test.
func bootIt(t *testing.T, rt drivers.Runtime, req drivers.BootstrapRequest) {
	t.Helper()
	if err := rt.Bootstrap(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := rt.Stop(ctx, drivers.StopOptions{}); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := rt.Shutdown(ctx); err != nil && !errors.Is(err, drivers.ErrInvalidState) {
			t.Errorf("shutdown: %v", err)
		}
	})
}

// runWeb returns a running one.
func runWeb(t *testing.T, h Hypervisor, dir string) drivers.Runtime {
	t.Helper()
	rt := boot(t, h, dir)
	if err := rt.StartProcess(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	return rt
}

func snapshot(t *testing.T, rt drivers.Runtime) drivers.Snapshot {
	t.Helper()
	s, err := rt.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantState(t *testing.T, rt drivers.Runtime, want drivers.State) drivers.Snapshot {
	t.Helper()
	s := snapshot(t, rt)
	if s.State != want {
		t.Fatalf("state %s (%s), want %s", s.State, s.Reason, want)
	}
	return s
}

func wantError(t *testing.T, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want a %q with %q", err, kind, text)
	}
}

func TestSandboxPassesThroughItsStates(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		dir := bundle(t, []string{"sleep"}, nil)
		rt := newFake(h, Options{Version: "v1"})
		wantState(t, rt, drivers.StateCreated)
		if err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); err != nil {
			t.Fatal(err)
		}
		s := wantState(t, rt, drivers.StateBooted)
		if p, ok := s.Process("web"); !ok || p.State != drivers.ProcessCreated {
			t.Errorf("init process after bootstrap: %+v", p)
		}
		if s.Machine.KernelVersion != "6.1-fake" || len(s.Machine.BootID) > 2*maxGuestText {
			t.Errorf("what the guest says of itself is not cleaned: %+v", s.Machine)
		}
		if err := rt.StartProcess(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		s = wantState(t, rt, drivers.StateRunning)
		if p, _ := s.Process("web"); p.State != drivers.ProcessRunning || p.PID != 42 || p.StartedAt.IsZero() {
			t.Errorf("running init process: %+v", p)
		}
		if err := rt.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantState(t, rt, drivers.StatePaused)
		if err := rt.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h.agent.setTimes != 1 {
			t.Errorf("the clock was set %d times after the pause, want once", h.agent.setTimes)
		}
		if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: time.Second}); err != nil {
			t.Fatal(err)
		}
		s = wantState(t, rt, drivers.StateStopped)
		if s.Reason != "" {
			t.Errorf("a wanted stop has the reason %q", s.Reason)
		}
		if exit, err := rt.Wait(t.Context(), "web"); err != nil || exit.Code != 128+15 {
			t.Errorf("exit %+v, %v, want 143", exit, err)
		}
		var stages []string
		for _, st := range s.Timeline {
			stages = append(stages, st.Name)
		}
		if got, want := strings.Join(stages, " "), "bootstrap vmStarted agentUp booted running"; got != want {
			t.Errorf("timeline %q, want %q", got, want)
		}
		if err := rt.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantState(t, rt, drivers.StateShuttingDown)
	})
}

func TestCallsInTheWrongStateNameTheState(t *testing.T) {
	world(t, func(t *testing.T) {
		ctx := t.Context()
		rt := newFake(&fakeHypervisor{}, Options{})
		for name, call := range map[string]func() error{
			"start":      func() error { return rt.StartProcess(ctx, "web") },
			"create":     func() error { return rt.CreateProcess(ctx, "p", "web", drivers.ProcessSpec{}) },
			"exec":       func() error { _, err := rt.Exec(ctx, "web", drivers.ProcessSpec{}, drivers.Stdio{}); return err },
			"attach":     func() error { _, err := rt.Attach(ctx, "web", drivers.Stdio{}); return err },
			"kill":       func() error { return rt.Kill(ctx, "web", 15) },
			"resize":     func() error { return rt.Resize(ctx, "web", drivers.TerminalSize{}) },
			"statistics": func() error { _, err := rt.Statistics(ctx); return err },
			"pause":      func() error { return rt.Pause(ctx) },
			"resume":     func() error { return rt.Resume(ctx) },
		} {
			if err := call(); !errors.Is(err, drivers.ErrInvalidState) || !strings.Contains(err.Error(), "created") {
				t.Errorf("%s: error %v, want an invalid state that names created", name, err)
			}
		}
		if err := rt.Stop(ctx, drivers.StopOptions{}); err != nil {
			t.Errorf("stop in created: %v, want silence", err)
		}
		if err := rt.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		err := rt.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: t.TempDir()})
		wantError(t, err, drivers.ErrInvalidState, "shuttingDown")
	})
}

func TestBootstrapHandsTheGuestItsConfiguration(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		dir := bundle(t, []string{"sleep"}, func(c *drivers.Configuration) {
			c.Volumes = []drivers.Volume{
				{Name: "conf", Files: &drivers.FilesVolume{Files: []drivers.File{{Path: "key", Mode: 0o400, Secret: "s/key"}}}},
				{Name: "tmp", EmptyDir: &drivers.EmptyDirVolume{Memory: true, SizeLimitBytes: 9}},
			}
			second := c.Containers[0]
			second.Name = "side"
			second.Mounts = []drivers.Mount{{Volume: "conf", Path: "/etc/conf", ReadOnly: true}}
			c.Containers[0].Process.Env = []drivers.EnvVar{{Name: "TOKEN", Secret: "s/token"}, {Name: "A", Value: "b"}}
			c.Containers = append(c.Containers, second)
		})
		rt := bootWith(t, h, drivers.BootstrapRequest{Bundle: dir, Secrets: map[string][]byte{
			"s/key": []byte("k"), "s/token": []byte("hush"),
		}})
		if err := rt.StartProcess(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}

		a := &h.agent
		if len(a.configure.GetRandomSeed()) != seedBytes || a.configure.GetHostname() != "web" || a.configure.GetTime() == nil {
			t.Errorf("configure: %v", a.configure)
		}
		if got := string(a.configure.GetVolumes()[0].GetFiles()[0].GetData()); got != "k" {
			t.Errorf("file from a secret holds %q", got)
		}
		if len(a.created) != 2 || a.created[0].GetRootfsSerial() != "root0" || a.created[1].GetRootfsSerial() != "root0" {
			t.Errorf("two containers of one image do not share its disk: %v", a.created)
		}
		if n := len(h.configs[0].Disks); n != 2 {
			t.Errorf("the machine has %d disks, want 2", n)
		}
		if got := a.started[0].GetSpec().GetEnv()[0]; got.GetValue() != "hush" || got.GetSecret() != "" {
			t.Errorf("environment variable from a secret: %v", got)
		}
		// Nothing of it lies in the bundle.
		_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, _ error) error {
			if e.Type().IsRegular() && e.Name() != DiskFile {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Error(err)
				}
				if bytes.Contains(data, []byte("hush")) {
					t.Errorf("%s holds a secret", path)
				}
			}
			return nil
		})
	})
}

func TestMissingSecretIsNamed(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := newFake(h, Options{})
		dir := bundle(t, []string{"sleep"}, func(c *drivers.Configuration) {
			c.Containers[0].Process.Env = []drivers.EnvVar{{Name: "TOKEN", Secret: "s/token"}}
		})
		err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir})
		wantError(t, err, drivers.ErrInvalidArgument, `"s/token"`)
		wantState(t, rt, drivers.StateStopped)
		if h.count() != 0 {
			t.Error("a machine was started for nothing")
		}
	})
}

func TestAgentThatNeverAnswersEndsTheBootAfterOneRetry(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{deaf: 2}
		rt := newFake(h, Options{BootTimeout: 20 * time.Second})
		err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: bundle(t, []string{"sleep"}, nil)})
		if err == nil || !strings.Contains(err.Error(), "did not answer within 20s") || !strings.Contains(err.Error(), "Kernel panic - not syncing[0m") {
			t.Fatalf("error %q, want one with the limit and the console's last lines", err)
		}
		if h.count() != 2 {
			t.Errorf("%d machines were started, want 2", h.count())
		}
		for _, m := range h.machines {
			if !m.killed {
				t.Error("a machine was left behind")
			}
		}
		s := wantState(t, rt, drivers.StateStopped)
		if s.Reason != err.Error() || s.Machine != nil {
			t.Errorf("snapshot %+v", s)
		}
		if err := rt.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHungBootIsRetried(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{deaf: 1}
		rt := boot(t, h, bundle(t, []string{"sleep"}, nil))
		wantState(t, rt, drivers.StateBooted)
		if h.count() != 2 || !h.machines[0].killed {
			t.Errorf("%d machines", h.count())
		}
	})
}

func TestMachineThatDiesInBootSaysWhy(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := newFake(&fakeHypervisor{dieEarly: true}, Options{})
		err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: bundle(t, []string{"sleep"}, nil)})
		if err == nil || !strings.Contains(err.Error(), "could not open disk image") {
			t.Fatalf("error %v", err)
		}
	})
}

func TestFailedSetUpEndsTheMachine(t *testing.T) {
	for name, tc := range map[string]struct {
		failCreate    error
		hangConfigure bool
		want          string
	}{
		"refused": {status.Error(codes.Internal, "mount root0: bad superblock"), false, "make container web: mount root0"},
		"hung":    {nil, true, "set the guest up"},
	} {
		t.Run(name, func(t *testing.T) {
			world(t, func(t *testing.T) {
				h := &fakeHypervisor{}
				h.agent.failCreate, h.agent.hangConfigure = tc.failCreate, tc.hangConfigure
				rt := newFake(h, Options{})
				err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: bundle(t, []string{"sleep"}, nil)})
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("error %v, want one with %q", err, tc.want)
				}
				wantState(t, rt, drivers.StateStopped)
				if !h.last().killed {
					t.Error("the machine was left behind")
				}
			})
		})
	}
}

func TestShutdownCancelsABootstrap(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{deaf: 2}
		rt := newFake(h, Options{})
		dir := bundle(t, []string{"sleep"}, nil)
		result := make(chan error)
		go func() { result <- rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}) }()
		synctest.Wait()
		if err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); !errors.Is(err, drivers.ErrInvalidState) {
			t.Errorf("a second bootstrap: %v", err)
		}
		if err := rt.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Fatalf("bootstrap: %v", err)
		}
		if h.count() != 1 || !h.last().killed {
			t.Error("the machine was left behind")
		}
	})
}

func TestMachineDeathStopsTheSandboxAndTellsWhy(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		execs := make(chan error)
		go func() {
			_, err := rt.Exec(t.Context(), "web", drivers.ProcessSpec{Args: []string{"sleep"}}, drivers.Stdio{})
			execs <- err
		}()
		waits := make(chan drivers.ExitStatus)
		go func() {
			exit, err := rt.Wait(t.Context(), "web")
			if err != nil {
				t.Error(err)
			}
			waits <- exit
		}()
		synctest.Wait()
		changes, err := rt.Events(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		<-changes // as it is
		h.last().die("the virtual machine process exited: signal: killed")
		if s := <-changes; s.State != drivers.StateStopped {
			t.Errorf("first told: %+v, want the end of the machine", s)
		}
		if err := <-execs; err == nil || !strings.Contains(err.Error(), "signal: killed") {
			t.Errorf("exec: %v", err)
		}
		if exit := <-waits; exit.Code != codeUnknown || exit.FinishedAt.IsZero() {
			t.Errorf("exit %+v", exit)
		}
		synctest.Wait()
		s := wantState(t, rt, drivers.StateStopped)
		if s.Reason != "the virtual machine process exited: signal: killed" {
			t.Errorf("reason %q", s.Reason)
		}
		if p, _ := s.Process("web"); p.State != drivers.ProcessExited || p.Exit == nil {
			t.Errorf("process %+v", p)
		}
	})
}

func TestAgentThatIsLostForGoodEndsTheMachine(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		m := h.last()
		m.hangUp(true)
		if _, err := rt.Wait(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		s := wantState(t, rt, drivers.StateStopped)
		if !m.killed || !strings.Contains(s.Reason, "agent") {
			t.Errorf("killed %t, reason %q", m.killed, s.Reason)
		}
	})
}

func TestStopKillsWhatIgnoresItsSignal(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"stubborn"}, nil))
		begin := time.Now()
		if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("stop took %s, want the grace period", took)
		}
		if exit, _ := rt.Wait(t.Context(), "web"); exit.Code != codeKilled {
			t.Errorf("exit %+v, want 137", exit)
		}
	})
}

func TestStopOfAHungGuestIsBounded(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		h.agent.hangSignal, h.agent.hangShutdown = true, true
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		begin := time.Now()
		stopped := make(chan error)
		go func() { stopped <- rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: 10 * time.Second}) }()
		synctest.Wait()

		// Meanwhile nothing else is held up.
		wantState(t, rt, drivers.StateStopping)
		if err := rt.Stop(t.Context(), drivers.StopOptions{}); err != nil {
			t.Errorf("a second stop: %v", err)
		}
		wantError(t, rt.Kill(t.Context(), "web", 9), drivers.ErrInvalidState, "stopping")
		if time.Since(begin) != 0 {
			t.Error("a call waited for the stop")
		}

		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 21*time.Second {
			t.Errorf("stop took %s", took)
		}
		if exit, err := rt.Wait(t.Context(), "web"); err != nil || exit.Code != codeKilled || exit.Signal != 9 {
			t.Errorf("exit %+v, %v, want 137", exit, err)
		}
		if !h.last().killed {
			t.Error("the machine was left running")
		}
	})
}

func TestStopGoesOnWithoutItsCaller(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"stubborn"}, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := rt.Stop(ctx, drivers.StopOptions{GracePeriod: 5 * time.Second}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // virtual time
		wantState(t, rt, drivers.StateStopped)
	})
}

func TestPausedSandboxCanBeStopped(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		if err := rt.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: time.Second}); err != nil {
			t.Fatal(err)
		}
		if exit, _ := rt.Wait(t.Context(), "web"); exit.Code != 143 {
			t.Errorf("exit %+v, want that of the stop signal", exit)
		}
	})
}

func TestFirstStartThatFailsEndsTheSandbox(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := boot(t, h, bundle(t, []string{"fail"}, nil))
		err := rt.StartProcess(t.Context(), "web")
		if err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Fatalf("error %v", err)
		}
		s := wantState(t, rt, drivers.StateStopped)
		if !strings.Contains(s.Reason, "no such file") || !h.last().killed {
			t.Errorf("reason %q", s.Reason)
		}
		_, err = rt.Wait(t.Context(), "web")
		wantError(t, err, drivers.ErrInvalidState, "before it was started")
	})
}

func TestInitProcessRunsAgainAfterItsExit(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		dir := bundle(t, []string{"echo", "hello"}, nil)
		rt := runWeb(t, h, dir)
		for range 2 {
			if exit, err := rt.Wait(t.Context(), "web"); err != nil || exit.Code != 0 || exit.FinishedAt.Year() == 1970 {
				t.Fatalf("exit %+v, %v: want 0 at the host's time", exit, err)
			}
			wantState(t, rt, drivers.StateRunning)
			if err := rt.StartProcess(t.Context(), "web"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := rt.Wait(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(filepath.Join(dir, drivers.LogsDir, "web.log"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(log), " stdout F hello\n"); n != 3 {
			t.Errorf("the log has %d lines, want 3:\n%s", n, log)
		}
	})
}

func TestProcessesByName(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"sleep"}, nil))
		ctx := t.Context()
		sleep := drivers.ProcessSpec{Args: []string{"sleep"}}
		wantError(t, rt.CreateProcess(ctx, "web", "web", sleep), drivers.ErrInvalidArgument, "in use")
		wantError(t, rt.CreateProcess(ctx, "../x", "web", sleep), drivers.ErrInvalidArgument, "letters")
		wantError(t, rt.CreateProcess(ctx, "_plugin", "web", sleep), drivers.ErrInvalidArgument, "letters")
		wantError(t, rt.CreateProcess(ctx, "job", "nope", sleep), drivers.ErrNotFound, "nope")
		wantError(t, rt.CreateProcess(ctx, "job", "web", drivers.ProcessSpec{}), drivers.ErrInvalidArgument, "no command")
		if err := rt.CreateProcess(ctx, "job", "web", sleep); err != nil {
			t.Fatal(err)
		}
		wantError(t, rt.Kill(ctx, "job", 15), drivers.ErrInvalidState, "created, not running")
		if err := rt.StartProcess(ctx, "job"); err != nil {
			t.Fatal(err)
		}
		wantError(t, rt.StartProcess(ctx, "job"), drivers.ErrInvalidState, "runs already")
		wantError(t, rt.Kill(ctx, "job", 99), drivers.ErrInvalidArgument, "99")
		wantError(t, rt.Resize(ctx, "job", drivers.TerminalSize{}), drivers.ErrInvalidArgument, "no terminal")
		if err := rt.Kill(ctx, "job", 9); err != nil {
			t.Fatal(err)
		}
		// SIGKILL returns when the exit was seen.
		if p, _ := snapshot(t, rt).Process("job"); p.State != drivers.ProcessExited || p.Exit.Code != codeKilled {
			t.Errorf("process %+v", p)
		}
		wantError(t, rt.StartProcess(ctx, "job"), drivers.ErrInvalidState, "only a container's init process")
		_, err := rt.Wait(ctx, "nobody")
		wantError(t, err, drivers.ErrNotFound, "nobody")
	})
}

func TestCancelledExecLeavesTheSandboxRunning(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"sleep"}, nil))
		var out bytes.Buffer
		exit, err := rt.Exec(t.Context(), "web", drivers.ProcessSpec{Args: []string{"echo", "hi"}}, drivers.Stdio{Stdout: &out})
		if err != nil || exit.Code != 0 || out.String() != "hi\n" {
			t.Fatalf("exec: %+v, %v, %q", exit, err, out.String())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = rt.Exec(ctx, "web", drivers.ProcessSpec{Args: []string{"sleep"}}, drivers.Stdio{})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		wantState(t, rt, drivers.StateRunning)
		_, err = rt.Exec(t.Context(), "nope", drivers.ProcessSpec{Args: []string{"echo"}}, drivers.Stdio{})
		wantError(t, err, drivers.ErrNotFound, "nope")
	})
}

func TestSlowAttachedClientIsLetGo(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"flood"}, nil))
		release := make(chan struct{})
		result := make(chan error)
		go func() {
			_, err := rt.Attach(t.Context(), "web", drivers.Stdio{Stdout: writerFunc(func(p []byte) (int, error) {
				<-release
				return len(p), nil
			})})
			result <- err
		}()
		synctest.Wait() // it is attached
		if err := rt.Kill(t.Context(), "web", 10); err != nil {
			t.Fatal(err)
		}
		// The process prints on while the client stands still.
		waitFor(t, func() bool { return laggards(rt) > 0 })
		close(release)
		wantError(t, <-result, drivers.ErrExhausted, "not read fast enough")
		if _, err := rt.Attach(t.Context(), "web", drivers.Stdio{Stdin: strings.NewReader("")}); !errors.Is(err, drivers.ErrUnsupported) {
			t.Errorf("attach with stdin: %v", err)
		}
	})
}

// laggards counts the clients that were let go.
func laggards(rt drivers.Runtime) (n int) {
	s := rt.(*sandbox)
	s.mu.Lock()
	o := s.processes["web"].run.output
	s.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for a := range o.attached {
		a.mu.Lock()
		if a.lagged {
			n++
		}
		a.mu.Unlock()
	}
	return n
}

// waitFor polls in virtual time, which passes only while all else waits.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for begin := time.Now(); !done(); time.Sleep(time.Millisecond) { //nolint:forbidigo // virtual time
		if time.Since(begin) > time.Minute {
			t.Fatal("it does not come to pass")
		}
	}
}

func TestAttachSeesOutputAndExit(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"sleep"}, nil))
		signals := make(chan int, 1)
		signals <- 2
		exit, err := rt.Attach(t.Context(), "web", drivers.Stdio{Signals: signals})
		if err != nil || exit.Code != 130 {
			t.Fatalf("exit %+v, %v", exit, err)
		}
		_, err = rt.Attach(t.Context(), "web", drivers.Stdio{})
		wantError(t, err, drivers.ErrInvalidState, "exited")
	})
}

func TestEventsEndWithTheLatestSnapshot(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := newFake(&fakeHypervisor{}, Options{})
		slow, err := rt.Events(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone, err := rt.Events(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if s := <-gone; s.State != drivers.StateCreated {
			t.Errorf("first snapshot %+v", s)
		}
		cancel()
		if _, ok := <-gone; ok {
			t.Error("a cancelled watcher got a snapshot")
		}
		if err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: bundle(t, []string{"sleep"}, nil)}); err != nil {
			t.Fatal(err)
		}
		if s := <-slow; s.State != drivers.StateBooted {
			t.Errorf("a slow watcher got %s, want the latest", s.State)
		}
		if err := rt.Stop(t.Context(), drivers.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := rt.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := <-slow; s.State != drivers.StateShuttingDown {
			t.Errorf("the last snapshot is %s", s.State)
		}
		if _, ok := <-slow; ok {
			t.Error("the channel is open after shutdown")
		}
		if ch, err := rt.Events(t.Context()); err != nil || (<-ch).State != drivers.StateShuttingDown {
			t.Error("no last snapshot for a late watcher")
		}
	})
}

func TestStatisticsBelieveTheHostOnly(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"sleep"}, nil))
		stats, err := rt.Statistics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stats.Sandbox.CPUUsec != 7 || len(stats.Containers) != 1 || stats.Containers["web"].Processes != 1 || stats.HostMemoryBytes != 0 {
			t.Errorf("statistics %+v", stats)
		}
	})
}

func TestLogThatCannotBeOpenedFailsTheStart(t *testing.T) {
	world(t, func(t *testing.T) {
		dir := bundle(t, []string{"sleep"}, nil)
		rt := boot(t, &fakeHypervisor{}, dir)
		if err := os.Mkdir(filepath.Join(dir, drivers.LogsDir, "web.log"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := rt.StartProcess(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "open its log") {
			t.Fatalf("error %v", err)
		}
	})
}
