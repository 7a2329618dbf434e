package linuxvm

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestGuestClockIsSetAfterTheHostSlept(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		var slept atomic.Int64
		real := newHostClock()
		rt := newFake(h, Options{})
		rt.clock = func() (time.Time, time.Duration) {
			day, passed := real()
			return day.Add(time.Duration(slept.Load())), passed
		}
		bootIt(t, rt, drivers.BootstrapRequest{Bundle: bundle(t, []string{"sleep"}, nil)})
		if err := rt.StartProcess(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		set := func() int {
			time.Sleep(2 * clockEvery) //nolint:forbidigo // virtual time
			synctest.Wait()
			h.agent.mu.Lock()
			defer h.agent.mu.Unlock()
			return h.agent.setTimes
		}
		before := set()
		if got := set(); got != before {
			t.Errorf("the clock was set %d times, and nothing had happened", got-before)
		}
		slept.Store(int64(time.Hour))
		if got := set(); got != before+1 {
			t.Errorf("the clock was set %d times after the sleep, want once", got-before)
		}
		slept.Store(0) // the host's clock is set back
		if err := rt.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := set(); got != before+1 {
			t.Errorf("a paused guest was told the time")
		}
		if err := rt.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := set(); got != before+2 {
			t.Errorf("the clock was set %d times in all, want twice", got-before)
		}
	})
}
