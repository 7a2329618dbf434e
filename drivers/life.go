package drivers

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Life keeps a sandbox's Snapshot and tells of its changes: what every Runtime
// needs for State and Events, and for its states. It is safe for concurrent use;
// the zero value is a sandbox in state created.
type Life struct {
	mu       sync.Mutex
	snapshot Snapshot
	over     bool
	watchers map[chan Snapshot]struct{}
}

// Snapshot returns the sandbox as it is now.
func (l *Life) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copy()
}

// copy returns a Snapshot that shares nothing that changes. The caller holds mu.
func (l *Life) copy() Snapshot {
	s := l.snapshot
	if s.State == "" {
		s.State = StateCreated
	}
	s.Processes, s.Timeline = slices.Clone(s.Processes), slices.Clone(s.Timeline)
	return s
}

// Require returns an InvalidState error unless the state is one of those wanted.
func (l *Life) Require(op string, want ...State) error {
	return l.Update(op, func(*Snapshot) {}, want...)
}

// Update changes the snapshot, if the state is one of those wanted (any, if none
// is given), and tells whoever watches. Otherwise the error is InvalidState. The
// function must not call Life's methods.
func (l *Life) Update(op string, change func(*Snapshot), want ...State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.copy()
	if len(want) > 0 && !slices.Contains(want, next.State) {
		return InvalidState(op, next.State, want...)
	}
	change(&next)
	l.snapshot = next
	for ch := range l.watchers {
		// What nobody has taken yet is out of date; nobody else puts anything in.
		select {
		case <-ch:
		default:
		}
		ch <- l.copy()
	}
	return nil
}

// Pass notes that a stage of the way up was passed.
func (s *Snapshot) Pass(stage string) {
	s.Timeline = append(s.Timeline, Stage{Name: stage, Time: time.Now()})
}

// SetProcess puts a process's status in the place of its last one.
func (s *Snapshot) SetProcess(p ProcessStatus) {
	i := slices.IndexFunc(s.Processes, func(o ProcessStatus) bool { return o.ID == p.ID })
	if i < 0 {
		s.Processes = append(s.Processes, p)
		return
	}
	s.Processes[i] = p
}

// Events is what Runtime.Events returns.
func (l *Life) Events(ctx context.Context) <-chan Snapshot {
	ch := make(chan Snapshot, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	ch <- l.copy()
	if l.over {
		close(ch)
		return ch
	}
	if l.watchers == nil {
		l.watchers = map[chan Snapshot]struct{}{}
	}
	l.watchers[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.watchers[ch]; ok {
			delete(l.watchers, ch)
			close(ch)
		}
	})
	return ch
}

// End ends all Events, those to come included: the sandbox is shut down.
func (l *Life) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for ch := range l.watchers {
		delete(l.watchers, ch)
		close(ch)
	}
}
