package linuxvm

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// Update has the agent change what the guest has.
func (s *sandbox) Update(ctx context.Context, live drivers.Live) error {
	const op = "update"
	s.mu.Lock()
	err := s.require(op, drivers.StateBooted, drivers.StateRunning)
	v := s.vm
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, l := range live.Limits {
		if _, ok := v.container(l.Container); !ok {
			return fmt.Errorf("%s: container %q: %w", op, l.Container, drivers.ErrNotFound)
		}
	}
	live.DNS = resolver(v.config, live.DNS)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = v.client.agent.Update(ctx, wire.FromLive(live))
	switch {
	case status.Code(err) == codes.Unimplemented:
		return fmt.Errorf("%s: %w by the agent of this guest, which was booted by an earlier version", op, drivers.ErrUnsupported)
	case err != nil:
		return fmt.Errorf("%s: %w", op, v.callError(err))
	}
	return nil
}
