package source

import (
	"context"
	"time"
)

// looker looks at the desired state; the loop decides when.
type looker interface {
	look(now time.Time) result
	// snapshot returns what the last look found.
	snapshot() Snapshot
}

// fingerprint is a hash over all that a Snapshot holds.
type fingerprint [32]byte

// result is how a look went.
type result struct {
	// fingerprint is equal for snapshots of equal content.
	fingerprint fingerprint
	// again is when to look once more because something had not settled; zero if
	// all had.
	again time.Time
	// moved says that files changed during the look: it is worth little.
	moved bool
}

// loop is the part of a source that knows only of time.
type loop struct {
	quiet, most, resync time.Duration
	// poll is how often to look when not all events can be had.
	poll time.Duration

	changed <-chan struct{} // something happened
	force   <-chan struct{} // look, and give out what is found
	limited func() bool     // not all events can be had
}

// maxMoved bounds how often a look is repeated at once because files changed
// during it.
const maxMoved = 5

func (l *loop) run(ctx context.Context, lk looker, out func(Snapshot)) error {
	var (
		wait  = debounce{quiet: l.quiet, most: l.most}
		again time.Time // when something may have settled
		next  = time.Now()
		force = true // the first snapshot is given out whatever it holds
		moved int
		last  fingerprint
	)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(earliest(wait.due(), again, next)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.changed:
			wait.touch(time.Now())
			continue
		case <-l.force:
			force = true
		case <-timer.C:
		}

		wait.reset()
		r := lk.look(time.Now())
		again, next = r.again, time.Now().Add(l.interval())
		if r.moved && moved < maxMoved {
			moved++
			wait.touch(time.Now())
			continue
		}
		moved = 0
		if force || r.fingerprint != last {
			out(lk.snapshot())
			force, last = false, r.fingerprint
		}
	}
}

func (l *loop) interval() time.Duration {
	if l.limited() {
		return min(l.poll, l.resync)
	}
	return l.resync
}
