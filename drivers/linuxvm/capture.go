package linuxvm

import (
	"context"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// capture is a SnapshotDisk or SaveState under way on a machine that runs.
type capture struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// beginCapture sees that the disk, or the whole machine, can be captured now and
// returns the machine and its state. The caller calls end in the end; cancel is
// called should the sandbox be stopped meanwhile.
func (s *sandbox) beginCapture(op string, cancel context.CancelFunc, want ...drivers.State) (v *vm, state drivers.State, end func(), err error) {
	// Not amid a Pause: the guest could not thaw its disk. One that comes later
	// finds the capture under way.
	calm := s.pausing.TryLock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if calm {
		// mu is held until the capture is known: a Pause looks under it.
		defer s.pausing.Unlock()
	}
	err = s.require(op, want...)
	switch {
	case err != nil:
	case !calm:
		err = fmt.Errorf("%s: %w: it is being paused or resumed", op, drivers.ErrInvalidState)
	case s.vm == nil:
		err = fmt.Errorf("%s: %w: it never booted", op, drivers.ErrInvalidState)
	case s.capturing != nil:
		err = fmt.Errorf("%s: %w: another snapshot is under way", op, drivers.ErrInvalidState)
	}
	if err != nil {
		return nil, "", nil, err
	}
	if s.state == drivers.StateStopped {
		return s.vm, s.state, func() {}, nil
	}
	call := &capture{cancel: cancel, done: make(chan struct{})}
	s.capturing = call
	return s.vm, s.state, func() {
		s.mu.Lock()
		s.capturing = nil
		s.mu.Unlock()
		close(call.done)
	}, nil
}

// uncaptured is require, but for a capture under way too: it needs the CPUs as
// they are. The caller holds mu.
func (s *sandbox) uncaptured(op string, want ...drivers.State) error {
	if err := s.require(op, want...); err != nil || s.capturing == nil {
		return err
	}
	return fmt.Errorf("%s: %w: a snapshot is under way", op, drivers.ErrInvalidState)
}

// endCapture makes a capture that is under way give up, and waits until the guest
// is as it was.
func (s *sandbox) endCapture() {
	s.mu.Lock()
	call := s.capturing
	s.mu.Unlock()
	if call != nil {
		call.cancel()
		<-call.done
	}
}
