package state

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

// Lock takes the lock file at path and returns what releases it. It waits for a
// holder, until ctx ends. Holders of one path exclude each other within a
// process too.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	l := flock.New(path, flock.SetPermissions(FileMode))
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l.Unlock, nil
}
