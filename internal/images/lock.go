package images

import (
	"context"
	"fmt"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// processLock keeps other processes out while this one changes the store. Within
// the process any number may hold it.
type processLock struct {
	path string
	// turn guards the fields below; a channel, so that a wait can be given up.
	turn    chan struct{}
	holders int
	unlock  func() error
}

func (l *processLock) acquire(ctx context.Context) (release func(), err error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	if l.holders == 0 {
		if l.unlock, err = state.Lock(ctx, l.path); err != nil {
			return nil, fmt.Errorf("another process is using the image store: %w", err)
		}
	}
	l.holders++
	return l.release, nil
}

func (l *processLock) release() {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.holders--; l.holders == 0 {
		_ = l.unlock()
	}
}
