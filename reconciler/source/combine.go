package source

import (
	"context"
	"sync"
)

// Source yields a desired set. Directory, Git and Combined are sources.
type Source interface {
	// Run gives out a first Snapshot at once and then one after each change, until
	// ctx ends, whose error it returns. It calls out from the goroutine it was
	// called in. It is called once.
	Run(ctx context.Context, out func(Snapshot)) error
	// Resync makes Run look at once, and give out a Snapshot even if nothing
	// changed.
	Resync()
	// Status tells how the source fares, or each that it is made of.
	Status() []Status
}

// Combined is several sources as one.
type Combined struct {
	sources []Source
}

// Combine makes one source of several. Its snapshots are complete when all
// of theirs are: an object that is missing in one may be in another that cannot be
// seen.
func Combine(sources ...Source) *Combined {
	return &Combined{sources: sources}
}

// Run implements Source. It gives out nothing before each source has.
func (c *Combined) Run(ctx context.Context, out func(Snapshot)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	type part struct {
		of       int
		snapshot Snapshot
	}
	news := make(chan part)
	var running sync.WaitGroup
	for i, s := range c.sources {
		running.Go(func() {
			// It ends only with ctx, or for all.
			cancel(s.Run(ctx, func(snap Snapshot) {
				select {
				case news <- part{i, snap}:
				case <-ctx.Done():
				}
			}))
		})
	}
	defer running.Wait()
	defer cancel(nil)

	parts := make([]*Snapshot, len(c.sources))
	for given := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case p := <-news:
			if parts[p.of] == nil {
				given++
			}
			parts[p.of] = &p.snapshot
			if given == len(parts) {
				out(merge(parts, p.of))
			}
		}
	}
}

// merge makes one snapshot of one from each source, of which one is new.
func merge(parts []*Snapshot, news int) Snapshot {
	all := Snapshot{Complete: true, Time: parts[news].Time}
	blind := false
	for _, p := range parts {
		all.Objects = append(all.Objects, p.Objects...)
		all.Errors = append(all.Errors, p.Errors...)
		all.Sources = append(all.Sources, p.Sources...)
		all.Complete = all.Complete && p.Complete
		blind = blind || !p.Complete && !p.Settling
	}
	all.Settling = !all.Complete && !blind
	return all
}

// Resync implements Source.
func (c *Combined) Resync() {
	for _, s := range c.sources {
		s.Resync()
	}
}

// Status implements Source.
func (c *Combined) Status() []Status {
	var all []Status
	for _, s := range c.sources {
		all = append(all, s.Status()...)
	}
	return all
}
