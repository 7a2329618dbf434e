package linuxvm

import (
	"context"
	"errors"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	// reconnectTimeout is how long a guest whose CPUs run may take to answer again,
	// on a busy host.
	reconnectTimeout = time.Minute
	// steadyAfter is how long a link has to last for its end to be the first of its
	// kind. Of those that end sooner there may be reconnectTries in a row, each after
	// a longer wait: a guest that hangs up again and again is no use.
	steadyAfter    = time.Minute
	reconnectTries = 8
	reconnectWait  = 50 * time.Millisecond
)

// stayConnected makes the link to the agent anew whenever it breaks. It returns
// when the machine or the line has ended, or there is no hope; only the last is an
// error.
func (s *sandbox) stayConnected(v *vm) error {
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	go func() {
		select {
		case <-v.machine.Exited():
		case <-s.ended:
		case <-ctx.Done():
		}
		cancel()
	}()
	for tries := 0; ; {
		since := time.Now()
		select {
		case <-v.machine.Exited():
			return nil
		case <-v.client.current().done:
		}
		if v.client.isClosed() {
			return nil
		}
		if tries++; time.Since(since) > steadyAfter {
			tries = 1
		}
		if tries > reconnectTries {
			return errors.New("it does so again and again")
		}
		s.log.WarnContext(ctx, "the connection to a guest's agent broke, making it anew", "id", v.config.ID, "try", tries)
		if err := s.reconnect(ctx, v, reconnectWait<<(tries-1)); err != nil {
			return err
		}
	}
}

// reconnect makes another link to the agent of the same guest.
func (s *sandbox) reconnect(ctx context.Context, v *vm, wait time.Duration) error {
	s.mu.Lock()
	bootID := s.machine.BootID
	s.mu.Unlock()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		if err := s.awake(ctx); err != nil {
			return err
		}
		l, err := s.meetWithin(ctx, v, bootID)
		if err == nil {
			v.client.replace(l)
			return nil
		}
		if ctx.Err() != nil || s.runs() {
			return err
		}
	}
}

func (s *sandbox) meetWithin(ctx context.Context, v *vm, bootID string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, reconnectTimeout)
	defer cancel()
	return s.meet(ctx, v.machine, bootID)
}

// awake waits while the sandbox is paused: a guest that stands still answers nobody.
func (s *sandbox) awake(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := s.Events(ctx)
	if err != nil {
		return err
	}
	for snap := range events {
		if snap.State != drivers.StatePaused {
			return nil
		}
	}
	return ctx.Err()
}

// runs reports whether the guest's CPUs do.
func (s *sandbox) runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state != drivers.StatePaused && s.capturing == nil
}
