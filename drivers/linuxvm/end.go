package linuxvm

import (
	"github.com/vzreconciler/vzreconciler/drivers"
)

// watch keeps the guest's clock and waits for the end of the machine, or of all hope
// for its agent, without whom it is of no use.
func (s *sandbox) watch(v *vm) {
	go s.keepClock(v)
	reason := "the connection to the guest's agent broke: "
	if err := s.stayConnected(v); err != nil {
		reason += err.Error()
	}
	if why, gone := v.gone(); gone {
		reason = why
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
