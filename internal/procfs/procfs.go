// Package procfs tells one process from another that later got the same number.
package procfs

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrGone means that the process is not there (any more).
var ErrGone = errors.New("no such process")

// ID is a process for good: a pid comes back, a pid and its start time do not.
type ID struct {
	PID int `json:"pid"`
	// StartTime is in the system's own unit and only good for comparison.
	StartTime uint64 `json:"startTime"`
}

// Lookup returns the identity of the process that now has a pid.
func Lookup(pid int) (ID, error) {
	start, err := startTime(pid)
	if err != nil {
		return ID{}, err
	}
	return ID{PID: pid, StartTime: start}, nil
}

// Alive reports whether the very process runs. A zombie does not.
func (id ID) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	start, err := startTime(id.PID)
	return err == nil && start == id.StartTime
}

// Kill sends SIGKILL to the process if it still is the one meant; a process
// that is gone is no error.
func (id ID) Kill() error {
	if id.PID <= 0 {
		return nil
	}
	// On Linux this holds the process that has the number now. Only then is it
	// asked for its start time, so that it cannot become another in between.
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return fmt.Errorf("kill process %d: %w", id.PID, err)
	}
	defer func() { _ = p.Release() }()
	if !id.Alive() {
		return nil
	}
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", id.PID, err)
	}
	return nil
}
