package linuxvm

import (
	"context"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	// clockEvery is how often the host's clock is looked at.
	clockEvery = 5 * time.Second
	// clockJump is by how much it must have jumped to be worth telling the guest.
	clockJump = time.Second
)

// hostClock is the time of day, and a time that only ever passes, and not while
// the host sleeps.
type hostClock func() (day time.Time, passed time.Duration)

func newHostClock() hostClock {
	start := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start)
	}
}

// keepClock sets the guest's clock when the host's has jumped: the host slept, and
// the guest with it, or somebody set the host's. It ends with the machine.
func (s *sandbox) keepClock(v *vm) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	day, passed := s.clock()
	for {
		select {
		case <-v.machine.Exited():
			return
		case <-s.ended:
			return
		case <-tick.C:
		}
		nowDay, nowPassed := s.clock()
		jump := nowDay.Sub(day) - (nowPassed - passed)
		day, passed = nowDay, nowPassed
		if jump.Abs() < clockJump {
			continue
		}
		s.mu.Lock()
		paused := s.state == drivers.StatePaused
		s.mu.Unlock()
		if paused {
			continue // Resume sets the clock
		}
		ctx, cancel := context.WithTimeout(s.life, callTimeout)
		err := v.setClock(ctx, nil)
		cancel()
		if err != nil {
			s.log.Warn("the host's clock has jumped, and the guest's cannot be set", "id", v.config.ID, "by", jump, "error", err)
			continue
		}
		s.log.Info("the host's clock has jumped, the guest's is set", "id", v.config.ID, "by", jump)
	}
}
