package reconciler

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

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
	if errors.Is(err, state.ErrLocked) {
		who := ""
		if data, rerr := os.ReadFile(path); rerr == nil { //nolint:gosec // our own file
			if pid, cerr := strconv.Atoi(strings.TrimSpace(string(data))); cerr == nil {
				who = fmt.Sprintf(" (pid %d)", pid)
			}
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
