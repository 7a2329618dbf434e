package procfs

import (
	"context"
	"time"
)

// Watch returns a channel that is closed when the process is gone, whoever its
// parent is. The watching ends with ctx: the channel then stays open.
func (id ID) Watch(ctx context.Context) (<-chan struct{}, error) {
	gone := make(chan struct{})
	wait, err := processWaiter(id)
	if err != nil {
		return nil, err
	}
	go func() {
		if wait(ctx) {
			close(gone)
		}
	}()
	return gone, nil
}

// pollInterval is how often a process is looked at where the system cannot tell
// of its end.
const pollInterval = 500 * time.Millisecond

// pollProcess reports true when the process is gone, false when ctx is done.
func pollProcess(ctx context.Context, id ID) bool {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for id.Alive() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
