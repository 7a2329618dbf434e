package reconciler

import (
	"context"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// completeInterval is how stale the metric of the last complete look may be.
const completeInterval = 15 * time.Second

// sourceOf returns the source that a file is of, nil if it is of none that is
// read now: the daemon was started with others than before, and the file's absence
// says nothing.
func (x *snapshotIndex) sourceOf(file string) *source.Status {
	for i := range x.sources {
		if x.sources[i].Holds(file) {
			return &x.sources[i]
		}
	}
	return nil
}

// stale says why a file's source may have something newer than what is followed.
func (x *snapshotIndex) stale(file string) *problem {
	if s := x.sourceOf(file); s != nil && s.Problem != nil {
		return &problem{s.Problem.Reason, s.Problem.Message}
	}
	return nil
}

// ofSource reports a problem that all objects of a source have alike: it is the
// source that has an event about it.
func (p *problem) ofSource() bool {
	return p.Reason == source.ReasonCommitRefused || p.Reason == source.ReasonSourceUnreachable
}

func sameRevision(a, b *manifests.Revision) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Commit == b.Commit && a.Repository == b.Repository && a.Branch == b.Branch && a.Signer == b.Signer
}

// noteLook keeps what Status reports and tells metrics, events and the log.
func (m *Manager) noteLook(s source.Snapshot, verdicts map[manifests.Key]verdict, held []manifests.Key) {
	m.mu.Lock()
	was := m.synced.held
	for _, key := range was {
		if verdicts[key].open {
			held = append(held, key)
		}
	}
	before := m.synced.errors
	m.synced.errors, m.synced.held = s.Errors, held
	m.mu.Unlock()

	m.countErrors(s)
	m.noteComplete()
	m.opts.Metrics.SetPruneHeld(len(held))
	if len(held) > len(was) {
		m.log.Warn("hold the removal of objects until it is confirmed", "objects", len(held))
	}
	known := make(map[string]struct{}, len(before))
	for _, e := range before {
		known[e.Error()] = struct{}{}
	}
	for _, e := range s.Errors {
		if _, ok := known[e.Error()]; !ok {
			m.log.Warn("manifest has an error", "error", e.Error())
		}
	}
}

// countErrors tells the metrics how many errors each source has.
func (m *Manager) countErrors(s source.Snapshot) {
	counts := make([]int, len(s.Sources))
	for _, e := range s.Errors {
		of := 0
		for i, src := range s.Sources {
			if e.File == src.Name || src.Holds(e.File) || src.Holds(e.File+"/") {
				of = i
			}
		}
		counts[of]++
	}
	for i, src := range s.Sources {
		m.opts.Metrics.SetSourceErrors(src.Name, counts[i])
	}
}

// noteComplete tells the metrics when each source could last be seen, and what
// commit it is at.
func (m *Manager) noteComplete() {
	for _, s := range m.opts.Source.Status() {
		if !s.LastSync.IsZero() {
			m.opts.Metrics.SetSourceSynced(s.Name, s.LastSync)
		}
		if s.Revision != nil {
			m.opts.Metrics.SetSourceCommit(s.Name, s.Revision.Commit)
		}
	}
}

// lastSync returns since when all sources are known as they are; zero if one
// never was.
func lastSync(sources []source.Status) time.Time {
	var first time.Time
	for i, s := range sources {
		if i == 0 || s.LastSync.Before(first) {
			first = s.LastSync
		}
	}
	return first
}

// keepComplete does so now and then: a look that finds no change gives out no
// snapshot.
func (m *Manager) keepComplete(ctx context.Context) {
	tick := time.NewTicker(completeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.noteComplete()
		}
	}
}
