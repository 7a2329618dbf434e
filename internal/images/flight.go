package images

import (
	"context"
	"sync"
)

// flights does work that several callers want at once only once. The work goes
// on while at least one of them waits for it.
type flights struct {
	mu sync.Mutex
	m  map[string]*flight
}

type flight struct {
	done   chan struct{}
	cancel context.CancelFunc
	img    *Image
	err    error

	// Guarded by flights.mu.
	waiters  int
	progress Progress
	changed  chan struct{} // closed and replaced when progress changes
}

// do runs fn, or joins the call for the same key that is under way. progress, if
// not nil, is called on the caller's own goroutine.
func (g *flights) do(ctx context.Context, key string, progress func(Progress),
	fn func(ctx context.Context, report func(Progress)) (*Image, error),
) (*Image, error) {
	g.mu.Lock()
	f := g.m[key]
	if f == nil {
		if g.m == nil {
			g.m = make(map[string]*flight)
		}
		work, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{done: make(chan struct{}), cancel: cancel, changed: make(chan struct{})}
		g.m[key] = f
		go func() {
			f.img, f.err = fn(work, func(p Progress) { g.report(f, p) })
			g.end(key, f)
			close(f.done)
		}()
	}
	f.waiters++
	g.mu.Unlock()

	var last Progress
	for {
		g.mu.Lock()
		now, changed := f.progress, f.changed
		g.mu.Unlock()
		if progress != nil && now != last {
			last = now
			progress(now)
		}
		select {
		case <-f.done:
			g.leave(key, f)
			if f.err != nil {
				return nil, f.err
			}
			img := *f.img
			return &img, nil
		case <-ctx.Done():
			g.leave(key, f)
			return nil, context.Cause(ctx)
		case <-changed:
		}
	}
}

func (g *flights) report(f *flight, p Progress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f.progress = p
	close(f.changed)
	f.changed = make(chan struct{})
}

// leave takes a waiter off; the last one ends the work, and who comes then
// begins anew.
func (g *flights) leave(key string, f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		g.remove(key, f)
	}
}

func (g *flights) end(key string, f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(key, f)
}

func (g *flights) remove(key string, f *flight) {
	if g.m[key] == f {
		delete(g.m, key)
	}
}
