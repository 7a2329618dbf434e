package linuxvm

import (
	"context"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Events hands each watcher a channel that holds one snapshot: the latest.
func (s *sandbox) Events(ctx context.Context) (<-chan drivers.Snapshot, error) {
	ch := make(chan drivers.Snapshot, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	ch <- s.snapshot()
	if s.state == drivers.StateShuttingDown {
		close(ch)
		return ch, nil
	}
	s.watchers[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.watchers[ch]; ok {
			delete(s.watchers, ch)
			close(ch)
		}
	})
	return ch, nil
}

// publish gives every watcher the snapshot of now in place of one it has not
// read yet. The caller holds mu, which makes it the only sender.
func (s *sandbox) publish() {
	if len(s.watchers) == 0 {
		return
	}
	snap := s.snapshot()
	for ch := range s.watchers {
		select {
		case <-ch:
		default:
		}
		ch <- snap
	}
}

// closeWatchers ends all channels; each keeps its last snapshot. The caller
// holds mu.
func (s *sandbox) closeWatchers() {
	for ch := range s.watchers {
		delete(s.watchers, ch)
		close(ch)
	}
}
