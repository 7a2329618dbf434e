package linuxvm

import (
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// deathThroes is how long after the agent's connection broke the machine may
// take to end by itself, which tells more than the broken connection.
const deathThroes = 3 * time.Second

// watch keeps the guest's clock and waits for the end of the machine, or of the connection to its agent,
// without which it is of no use.
func (s *sandbox) watch(v *vm) {
	go s.keepClock(v)
	select {
	case <-v.machine.Exited():
	case <-v.client.done:
		t := time.NewTimer(deathThroes)
		defer t.Stop()
		select {
		case <-v.machine.Exited():
		case <-t.C:
		}
	}
	reason, gone := v.gone()
	if !gone {
		reason = "the connection to the guest's agent broke"
	}
	s.end(v, reason)
}

// end makes the machine go away, sees to it that every process has its exit
// status, and moves to stopped. The first call does it; others wait for it. The
// reason is for an end that nobody asked for.
func (s *sandbox) end(v *vm, reason string) {
	s.mu.Lock()
	if s.ending {
		s.mu.Unlock()
		<-s.ended
		return
	}
	s.ending = true
	s.mu.Unlock()

	if err := v.teardown(); err != nil {
		s.log.Error("a virtual machine does not end", "id", v.config.ID, "error", err)
	}
	// Their streams are broken now.
	s.active.Wait()
	s.forget()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != drivers.StateStopping {
		s.reason = reason
		s.log.Warn("the sandbox ended", "id", v.config.ID, "reason", reason)
	}
	s.apply(eventEnded)
	close(s.ended)
}
