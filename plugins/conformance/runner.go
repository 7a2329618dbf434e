package conformance

import (
	"context"
	"runtime"
	"sync"
)

// Runner runs checks in a program that is no test.
type Runner struct {
	ctx   context.Context //nolint:containedctx // of the run
	turns chan struct{}
	wg    sync.WaitGroup
}

// NewRunner returns a Runner of so many checks at once. When ctx ends, so do
// they.
func NewRunner(ctx context.Context, parallel int) *Runner {
	return &Runner{ctx: ctx, turns: make(chan struct{}, max(parallel, 1))}
}

// Run is an Options.Run. It returns when the check has begun.
func (r *Runner) Run(_ string, check func(T)) {
	r.turns <- struct{}{}
	r.wg.Go(func() {
		defer func() { <-r.turns }()
		ctx, cancel := context.WithCancel(r.ctx)
		t := &hosted{ctx: ctx}
		defer t.cleanUp()
		defer cancel()
		check(t)
	})
}

// Wait returns when all checks have ended.
func (r *Runner) Wait() { r.wg.Wait() }

// hosted is a T without a test: a Report notes what is said.
type hosted struct {
	ctx context.Context //nolint:containedctx // of the check

	mu       sync.Mutex
	cleanups []func()
}

func (*hosted) Helper()                    {}
func (t *hosted) Context() context.Context { return t.ctx }
func (*hosted) Logf(string, ...any)        {}
func (*hosted) Errorf(string, ...any)      {}

// Fatalf ends the check, as that of a test does.
func (*hosted) Fatalf(string, ...any) { runtime.Goexit() }

// Skipf ends the check, as that of a test does.
func (*hosted) Skipf(string, ...any) { runtime.Goexit() }

func (t *hosted) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// cleanUp calls the last one first. It runs while the goroutine ends.
func (t *hosted) cleanUp() {
	for {
		t.mu.Lock()
		if len(t.cleanups) == 0 {
			t.mu.Unlock()
			return
		}
		last := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		t.mu.Unlock()
		last()
	}
}
