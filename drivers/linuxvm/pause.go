package linuxvm

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// Pause stops the CPUs.
func (s *sandbox) Pause(ctx context.Context) error {
	defer s.save()
	s.pausing.Lock()
	defer s.pausing.Unlock()
	s.mu.Lock()
	err := s.uncaptured("pause", drivers.StateRunning)
	v := s.vm
	s.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := v.machine.Pause(ctx); err != nil {
		return fmt.Errorf("pause the virtual machine: %w", err)
	}
	s.mu.Lock()
	applied := s.apply(eventPaused)
	err = s.require("pause", drivers.StatePaused)
	s.mu.Unlock()
	if applied {
		return nil
	}
	// Stop came in between, and needs the guest awake.
	if rerr := v.machine.Resume(ctx); rerr != nil {
		s.log.WarnContext(ctx, "cannot resume a sandbox that is being stopped", "error", rerr)
	}
	return err
}

// Resume lets the CPUs run again and sets the guest's clock.
func (s *sandbox) Resume(ctx context.Context) error {
	defer s.save()
	s.pausing.Lock()
	defer s.pausing.Unlock()
	s.mu.Lock()
	err := s.uncaptured("resume", drivers.StatePaused)
	v := s.vm
	s.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := v.machine.Resume(ctx); err != nil {
		return fmt.Errorf("resume the virtual machine: %w", err)
	}
	s.mu.Lock()
	if !s.apply(eventResumed) {
		err = s.require("resume", drivers.StatePaused)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// It runs, whether its clock can be set or not.
	return v.setClock(ctx, nil)
}

// setClock sets the guest's clock, which stands still in a pause, and gives it a
// seed if there is one.
func (v *vm) setClock(ctx context.Context, seed []byte) error {
	req := &agentpb.SetTimeRequest{Time: timestamppb.New(time.Now()), RandomSeed: seed}
	if _, err := v.client.agent.SetTime(ctx, req); err != nil {
		return fmt.Errorf("set the guest's clock: %w", wire.FromStatus(err))
	}
	return nil
}
