package source

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDebounce(t *testing.T) {
	d := debounce{quiet: 40 * time.Millisecond, most: 400 * time.Millisecond}
	start := time.Now()
	if !d.due().IsZero() {
		t.Error("due although nothing happened")
	}
	d.touch(start)
	if got := d.due().Sub(start); got != 40*time.Millisecond {
		t.Errorf("due after %v, want 40ms", got)
	}
	d.touch(start.Add(30 * time.Millisecond))
	if got := d.due().Sub(start); got != 70*time.Millisecond {
		t.Errorf("due after %v, want 70ms", got)
	}
	d.touch(start.Add(390 * time.Millisecond))
	if got := d.due().Sub(start); got != 400*time.Millisecond {
		t.Errorf("put off to %v, want 400ms at most", got)
	}
	d.reset()
	if !d.due().IsZero() {
		t.Error("due after a look")
	}
}

// fakeLooker finds what the test says.
type fakeLooker struct {
	start time.Time
	looks []time.Duration // when
	find  func(look int) result
}

func (f *fakeLooker) look(now time.Time) result {
	f.looks = append(f.looks, now.Sub(f.start))
	return f.find(len(f.looks))
}

func (f *fakeLooker) snapshot() Snapshot {
	return Snapshot{Complete: true, Time: f.start.Add(f.looks[len(f.looks)-1])}
}

// world is a loop in virtual time.
type world struct {
	*fakeLooker
	changed, force chan struct{}
	limited        bool
	given          []time.Duration // when snapshots were given out
}

// runLoop runs a loop for so long; find says what looks find, act acts meanwhile.
func runLoop(t *testing.T, total time.Duration, find func(look int) result, act func(w *world), opts ...func(w *world)) *world {
	t.Helper()
	w := &world{}
	for _, opt := range opts {
		opt(w)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), total)
		defer cancel()
		w.changed, w.force = make(chan struct{}, 1), make(chan struct{}, 1)
		w.fakeLooker = &fakeLooker{start: time.Now(), find: find}
		l := &loop{
			quiet: 40 * time.Millisecond, most: 400 * time.Millisecond, resync: time.Minute, poll: 2 * time.Second,
			changed: w.changed, force: w.force, limited: func() bool { return w.limited },
		}
		go act(w)
		err := l.run(ctx, w, func(Snapshot) { w.given = append(w.given, time.Since(w.start)) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the loop ended with %v", err)
		}
	})
	return w
}

func always(r result) func(int) result { return func(int) result { return r } }

// each look finds something new.
func changing(look int) result { return result{fingerprint: fingerprint{byte(look)}} }

func nothing(*world) {}

func limited(w *world) { w.limited = true }

func wantTimes(t *testing.T, what string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s at %v, want %v", what, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s at %v, want %v", what, got, want)
		}
	}
}

func TestFirstSnapshotComesAtOnceAndOnlyOnce(t *testing.T) {
	w := runLoop(t, 150*time.Second, always(result{}), nothing)
	wantTimes(t, "looks", w.looks, 0, time.Minute, 2*time.Minute)
	wantTimes(t, "snapshots", w.given, 0)
}

func TestResyncGivesOutWhatNoEventTold(t *testing.T) {
	w := runLoop(t, 90*time.Second, changing, nothing)
	wantTimes(t, "snapshots", w.given, 0, time.Minute)
}

func TestChangeIsSeenAfterAQuietMoment(t *testing.T) {
	w := runLoop(t, 30*time.Second, changing, func(w *world) {
		<-time.After(10 * time.Second)
		for range 3 { // a burst
			w.changed <- struct{}{}
			<-time.After(10 * time.Millisecond)
		}
	})
	wantTimes(t, "snapshots", w.given, 0, 10*time.Second+60*time.Millisecond)
}

func TestEndlessEventsDoNotPutALookOff(t *testing.T) {
	w := runLoop(t, 2*time.Second, changing, func(w *world) {
		for range 100 {
			<-time.After(10 * time.Millisecond)
			w.changed <- struct{}{}
		}
	})
	if len(w.given) < 3 {
		t.Errorf("snapshots only at %v", w.given)
	}
}

func TestWhatHasNotSettledIsLookedAtAgain(t *testing.T) {
	var start time.Time
	w := runLoop(t, 30*time.Second, func(look int) result {
		if look == 1 {
			start = time.Now()
			return result{again: start.Add(time.Second)}
		}
		return result{fingerprint: fingerprint{1}}
	}, nothing)
	wantTimes(t, "snapshots", w.given, 0, time.Second)
	wantTimes(t, "looks", w.looks, 0, time.Second)
}

func TestOnDemandASnapshotIsGivenOutThoughNothingChanged(t *testing.T) {
	w := runLoop(t, 30*time.Second, always(result{}), func(w *world) {
		<-time.After(5 * time.Second)
		w.force <- struct{}{}
	})
	wantTimes(t, "snapshots", w.given, 0, 5*time.Second)
}

func TestLookDuringWhichFilesMovedIsRepeated(t *testing.T) {
	w := runLoop(t, 30*time.Second, func(look int) result {
		return result{moved: look <= 2, fingerprint: fingerprint{byte(look)}}
	}, nothing)
	wantTimes(t, "looks", w.looks, 0, 40*time.Millisecond, 80*time.Millisecond)
	wantTimes(t, "snapshots", w.given, 80*time.Millisecond)
}

func TestFilesThatAlwaysMoveStillGiveSnapshots(t *testing.T) {
	w := runLoop(t, 10*time.Second, func(look int) result {
		return result{moved: true, fingerprint: fingerprint{byte(look)}, again: time.Now().Add(time.Second)}
	}, nothing)
	if len(w.given) < 5 {
		t.Errorf("snapshots only at %v", w.given)
	}
}

func TestUnwatchedDirectoriesArePolled(t *testing.T) {
	w := runLoop(t, 7*time.Second, changing, nothing, limited)
	if len(w.given) < 3 {
		t.Errorf("snapshots only at %v", w.given)
	}
}
