package linuxvm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
)

// vanish makes a runtime do what one does that is killed: nothing more.
func vanish(s *sandbox) {
	s.mu.Lock()
	s.recordPath = ""
	s.ending = true
	s.mu.Unlock()
	close(s.ended)
	s.endLife()
	s.active.Wait()
	s.vm.client.close()
}

// bootFake boots a bundle and starts its container.
func bootFake(t *testing.T, h *fakeHypervisor, dir string) *sandbox {
	t.Helper()
	s := newFake(h, Options{})
	if err := s.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	return s
}

func stopFake(t *testing.T, s *sandbox) {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Stop(context.Background(), drivers.StopOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// logText returns what a process has in its log.
func logText(t *testing.T, dir, id string) string {
	t.Helper()
	var text strings.Builder
	err := crilog.Read(t.Context(), filepath.Join(dir, drivers.LogsDir, id+".log"), crilog.ReadOptions{Tail: -1}, func(line []byte) error {
		l, err := crilog.ParseLine(line)
		if err != nil {
			return err
		}
		text.Write(l.Text)
		if !l.Partial {
			text.WriteByte('\n')
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestMachineOfAKilledRuntimeIsTakenOver(t *testing.T) {
	h := &fakeHypervisor{}
	dir := bundle(t, []string{"greet", "hi"}, nil)
	first := bootFake(t, h, dir)
	if err := first.StartProcess(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	before, _ := first.State(t.Context())
	vanish(first)

	second := bootFake(t, h, dir)
	stopFake(t, second)
	after, _ := second.State(t.Context())
	if h.count() != 1 {
		t.Fatalf("%d machines were started, want the one", h.count())
	}
	if after.State != drivers.StateRunning || len(after.Processes) != 1 {
		t.Fatalf("taken over as %+v", after)
	}
	if was, is := before.Processes[0], after.Processes[0]; !is.StartedAt.Equal(was.StartedAt) || is.PID != was.PID || is.State != drivers.ProcessRunning {
		t.Errorf("the process is %+v, was %+v", is, was)
	}
	if len(after.Timeline) != len(before.Timeline) {
		t.Errorf("timeline %v, was %v", after.Timeline, before.Timeline)
	}
	if err := second.Kill(t.Context(), "web", int(syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
	exit, err := second.Wait(t.Context(), "web")
	if err != nil || exit.Code != 0 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	if got := logText(t, dir, "web"); got != "hi\n" {
		t.Errorf("log %q", got)
	}
}

func TestMachineTakenOverIsPausedStillOrBootedStill(t *testing.T) {
	for _, want := range []drivers.State{drivers.StateBooted, drivers.StatePaused} {
		t.Run(string(want), func(t *testing.T) {
			h := &fakeHypervisor{}
			dir := bundle(t, []string{"sleep"}, nil)
			first := bootFake(t, h, dir)
			if want == drivers.StatePaused {
				if err := errors.Join(first.StartProcess(t.Context(), "web"), first.Pause(t.Context())); err != nil {
					t.Fatal(err)
				}
			}
			vanish(first)
			second := bootFake(t, h, dir)
			stopFake(t, second)
			if s, _ := second.State(t.Context()); s.State != want || h.count() != 1 {
				t.Errorf("state %s on machine %d, want %s on the first", s.State, h.count(), want)
			}
			if h.last().paused != (want == drivers.StatePaused) {
				t.Errorf("the machine's CPUs: paused is %t", h.last().paused)
			}
		})
	}
}

func TestMachineOfAnotherConfigurationIsMadeAnew(t *testing.T) {
	h := &fakeHypervisor{}
	dir := bundle(t, []string{"sleep"}, nil)
	first := bootFake(t, h, dir)
	vanish(first)
	old := h.last()
	path := filepath.Join(dir, drivers.ConfigurationFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"cpus": 1`, `"cpus": 2`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := readConfiguration(dir); err != nil || c.CPUs != 2 {
		t.Fatalf("the edit of the configuration failed: %+v, %v", c.CPUs, err)
	}
	second := bootFake(t, h, dir)
	stopFake(t, second)
	if h.count() != 2 || !old.killed {
		t.Errorf("%d machines; the first was killed: %t", h.count(), old.killed)
	}
}

func TestRecordGoesWithTheMachine(t *testing.T) {
	h := &fakeHypervisor{}
	dir := bundle(t, []string{"sleep"}, nil)
	s := bootFake(t, h, dir)
	if _, err := readRecord(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context(), drivers.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, MachineFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the record of a machine that is gone: %v", err)
	}
}

func TestLogHasAllOutputOfEachMachine(t *testing.T) {
	h := &fakeHypervisor{}
	dir := bundle(t, []string{"echo", "hi"}, nil)
	for range 2 {
		s := bootFake(t, h, dir)
		if err := s.StartProcess(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wait(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(t.Context(), drivers.StopOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := logText(t, dir, "web"); got != "hi\nhi\n" {
		t.Errorf("log %q", got)
	}
}
