package qemu

import (
	"context"
	"encoding/json"
	"time"
)

// runStateIOError is the state of a machine of which a write has found no space: QEMU
// has stopped its CPUs, so that nothing is lost, and tries the write again when it goes
// on.
const runStateIOError = "io-error"

// blockError takes in that a disk of the machine's could not be read or written.
func (m *machine) blockError(data json.RawMessage) {
	var e struct {
		Action  string `json:"action"`
		NoSpace bool   `json:"nospace"`
	}
	if json.Unmarshal(data, &e) != nil || e.Action != "stop" || !e.NoSpace {
		return // The guest has been told.
	}
	select {
	case m.noSpace <- struct{}{}:
	default:
	}
}

// watchSpace lets the machine go on, whenever it stands still for want of space on the
// host's disk, when there is some again.
func (m *machine) watchSpace() {
	for {
		select {
		case <-m.exited:
			return
		case <-m.noSpace:
		}
		m.log.Warn("the host's disk is full: the virtual machine stands still until there is space again")
		if !m.awaitSpace() {
			return
		}
		m.log.Info("the virtual machine goes on: there is space on the host's disk")
	}
}

// awaitSpace returns when the machine does not stand still any more; false if it has
// ended.
func (m *machine) awaitSpace() bool {
	again := time.NewTicker(m.space)
	defer again.Stop()
	for {
		select {
		case <-m.exited:
			return false
		case <-again.C:
		}
		// What comes after this look is news.
		select {
		case <-m.noSpace:
		default:
		}
		if !m.retryWrites() {
			return true
		}
	}
}

// retryWrites has a machine that stands still try again. It reports whether it stood
// still, or cannot tell.
func (m *machine) retryWrites() bool {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	state, err := m.runState(ctx)
	if err != nil || state != runStateIOError {
		return err != nil
	}
	// An error is that the machine ends, which is seen elsewhere.
	_ = m.qmp.Execute(ctx, "cont", nil, nil)
	return true
}
