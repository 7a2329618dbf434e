package linuxvm

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestLostConnectionCostsNoProcess(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		dir := bundle(t, []string{"sleep"}, nil)
		rt := runWeb(t, h, dir)
		for _, id := range []string{"job", "done"} {
			if err := rt.CreateProcess(t.Context(), id, "web", drivers.ProcessSpec{Args: []string{"greet", "hi"}}); err != nil {
				t.Fatal(err)
			}
			if err := rt.StartProcess(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		attached := make(chan error, 1)
		go func() {
			_, err := rt.Attach(t.Context(), "job", drivers.Stdio{Stdout: &out})
			attached <- err
		}()
		synctest.Wait()
		// One process ends while nobody is there to be told.
		h.agent.mu.Lock()
		h.agent.signals["done"] <- int32(syscall.SIGHUP)
		h.agent.mu.Unlock()
		h.last().hangUp(false)
		synctest.Wait()
		if err := rt.Kill(t.Context(), "job", int(syscall.SIGHUP)); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"job", "done"} {
			if exit, err := rt.Wait(t.Context(), id); err != nil || exit.Code != 0 {
				t.Errorf("%s: exit %+v, %v", id, exit, err)
			}
			if got := logText(t, dir, id); got != "hi\n" {
				t.Errorf("%s: log %q", id, got)
			}
		}
		if err := <-attached; err != nil || out.String() != "hi\n" {
			t.Errorf("the attached client got %q, %v", out.String(), err)
		}
		s := wantState(t, rt, drivers.StateRunning)
		if p, _ := s.Process("web"); p.State != drivers.ProcessRunning || h.count() != 1 {
			t.Errorf("process %+v on machine %d", p, h.count())
		}
	})
}

func TestConnectionLostAmidAStartStartsTheProcessOnce(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{agent: fakeAgent{startOnce: true}}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		s := wantState(t, rt, drivers.StateRunning)
		if p, _ := s.Process("web"); p.State != drivers.ProcessRunning || h.agent.runs != 1 {
			t.Errorf("process %+v, started %d times", p, h.agent.runs)
		}
	})
}

func TestConnectionLostInAPauseIsMadeAnewAfterIt(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		if err := rt.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := h.last()
		m.hangUp(false)
		time.Sleep(2 * reconnectTimeout) //nolint:forbidigo // virtual time
		wantState(t, rt, drivers.StatePaused)
		if m.dials != 1 {
			t.Errorf("a guest that stands still was dialled %d times", m.dials)
		}
		if err := rt.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := rt.Statistics(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestGuestThatHangsUpForEverIsGivenUp(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		m := h.last()
		for range reconnectTries + 1 {
			m.hangUp(false)
			time.Sleep(30 * time.Second) //nolint:forbidigo // virtual time
		}
		s := wantState(t, rt, drivers.StateStopped)
		if !strings.Contains(s.Reason, "again and again") || m.dials != 1+reconnectTries {
			t.Errorf("%d dials, reason %q", m.dials, s.Reason)
		}
	})
}

func TestAnotherGuestIsNotGoneOnWith(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		m := h.last()
		h.agent.mu.Lock()
		h.agent.boot = "another"
		h.agent.mu.Unlock()
		m.hangUp(false)
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		if s := wantState(t, rt, drivers.StateStopped); !strings.Contains(s.Reason, "the guest is another") {
			t.Errorf("reason %q", s.Reason)
		}
	})
}
