package reconciler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// ErrStateDirInUse means that another daemon uses the state directory.
var ErrStateDirInUse = errors.New("in use by another daemon")

// LockStateDir makes the state directory and takes its lock, the file of which
// holds the pid of the daemon that has it. If another has it, the error is
// ErrStateDirInUse and names that pid.
func LockStateDir(dir bundle.StateDir) (unlock func() error, err error) {
	if err := state.MkdirAll(dir.RunDir()); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	path := dir.Lock()
	unlock, err = state.TryLock(path)
	pid := holder(path)
	if errors.Is(err, state.ErrLocked) && !running(pid) {
		// A daemon that was killed in the moment that it started a process leaves
		// the lock with that, until it has become what it was started as.
		ctx, cancel := context.WithTimeout(context.Background(), inheritedLock)
		defer cancel()
		if unlock, err = state.Lock(ctx, path); err != nil {
			err = errors.Join(state.ErrLocked, err)
		}
	}
	if errors.Is(err, state.ErrLocked) {
		who := ""
		if pid > 0 {
			who = fmt.Sprintf(" (pid %d)", pid)
		}
		return nil, fmt.Errorf("state directory %s: %w%s: stop it, or choose another with --state-dir", dir, ErrStateDirInUse, who)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	// In place, for the lock is on this very file.
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), state.FileMode); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the state directory: %w", err), unlock())
	}
	return unlock, nil
}

// inheritedLock is how long the lock of a daemon that is gone is waited for.
const inheritedLock = 2 * time.Second

// holder returns the pid in a lock file, 0 if there is none.
func holder(path string) int {
	data, err := os.ReadFile(path) //nolint:gosec // our own file
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

func running(pid int) bool {
	_, err := procfs.Lookup(pid)
	return pid > 0 && err == nil
}
