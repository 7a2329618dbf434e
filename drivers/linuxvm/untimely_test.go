package linuxvm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestResumedSandboxRunsAlthoughItsClockCannotBeSet(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{agent: fakeAgent{failSetTime: errors.New("no clock")}}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		if err := rt.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := rt.Resume(t.Context()); err == nil {
			t.Error("nobody was told that the clock is wrong")
		}
		wantState(t, rt, drivers.StateRunning)
	})
}

func TestStopWaitsForASandboxThatEndsByItself(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{slowKill: make(chan struct{})}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		// The connection breaks; the machine itself takes its time to end.
		m := h.last()
		m.hangUp(true)
		waitFor(t, func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.killed
		})
		stopped := make(chan error, 1)
		go func() { stopped <- rt.Stop(t.Context(), drivers.StopOptions{}) }()
		synctest.Wait()
		select {
		case err := <-stopped:
			t.Errorf("Stop returned while the machine was there: %v", err)
		default:
		}
		close(h.slowKill)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		wantState(t, rt, drivers.StateStopped)
	})
}

func TestOutputAfterAFailedStartReachesWhoeverIsAttached(t *testing.T) {
	world(t, func(t *testing.T) {
		dir := bundle(t, []string{"sleep"}, nil)
		rt := runWeb(t, &fakeHypervisor{}, dir)
		if err := rt.CreateProcess(t.Context(), "job", "web", drivers.ProcessSpec{Args: []string{"greet", "hello"}}); err != nil {
			t.Fatal(err)
		}
		log := filepath.Join(dir, drivers.LogsDir, "job.log")
		if err := os.Mkdir(log, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := rt.StartProcess(t.Context(), "job"); err == nil {
			t.Fatal("it started without a log")
		}
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
		if err := rt.StartProcess(t.Context(), "job"); err != nil {
			t.Fatal(err)
		}
		signals := make(chan int, 1)
		signals <- 2
		var out bytes.Buffer
		if _, err := rt.Attach(t.Context(), "job", drivers.Stdio{Stdout: &out, Signals: signals}); err != nil {
			t.Fatal(err)
		}
		if out.String() != "hello\n" {
			t.Errorf("the attached client got %q", out.String())
		}
	})
}

// A sandbox in which one container runs is not ended because another does not start.
func TestContainerThatDoesNotStartLeavesTheOthersRunning(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"sleep"}, func(c *drivers.Configuration) {
			other := c.Containers[0]
			other.Name, other.Process.Args = "other", []string{"fail"}
			c.Containers = append(c.Containers, other)
		}))
		if err := rt.StartProcess(t.Context(), "other"); err == nil {
			t.Fatal("it started")
		}
		wantState(t, rt, drivers.StateRunning)
	})
}
