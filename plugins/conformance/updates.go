package conformance

import (
	"errors"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func (s *suite) memoryLimit(rt drivers.Runtime) uint64 {
	s.Helper()
	stats, err := rt.Statistics(s.ctx)
	if err != nil {
		s.Fatalf("statistics: %v", err)
	}
	return stats.Containers[s.opts.Container].MemoryLimitBytes
}

func updateChangesLimits(s *suite) {
	s.need(drivers.CapabilityUpdate, drivers.CapabilityStatistics)
	rt := s.running(forever)
	before, err := rt.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	// Three times, for it may be repeated, and then back to none.
	for _, memory := range []int64{48 << 20, 48 << 20, 32 << 20, 0} {
		live := drivers.Live{
			Limits:      []drivers.ContainerLimits{{Container: s.opts.Container, CPUMillis: 500, MemoryBytes: memory}},
			DNS:         drivers.DNS{Nameservers: []string{"10.0.0.1"}, Searches: []string{"example.org"}},
			HostAliases: []drivers.HostAlias{{IP: "10.0.0.2", Hostnames: []string{"db"}}},
		}
		if err := rt.Update(s.ctx, live); err != nil {
			s.Fatalf("update: %v", err)
		}
		if got := s.memoryLimit(rt); got != uint64(memory) { //nolint:gosec // not negative
			s.Errorf("the container's memory limit is %d, want %d", got, memory)
		}
	}
	if err := rt.Update(s.ctx, drivers.Live{}); err != nil {
		s.Errorf("an update without limits: %v", err)
	}
	after, err := rt.State(s.ctx)
	if err != nil {
		s.Fatalf("state: %v", err)
	}
	was, _ := before.Process(s.opts.Container)
	is, _ := after.Process(s.opts.Container)
	if is.State != drivers.ProcessRunning || is.PID != was.PID || !is.StartedAt.Equal(was.StartedAt) {
		s.Errorf("the process was %+v before and is %+v", was, is)
	}
	missing := drivers.Live{Limits: []drivers.ContainerLimits{{Container: "nosuch"}}}
	if err := rt.Update(s.ctx, missing); !errors.Is(err, drivers.ErrNotFound) {
		s.Errorf("update of a container that is not there: %v, want that it is not found", err)
	}
}

func updateNeedsUp(s *suite) {
	s.need(drivers.CapabilityUpdate)
	sb := s.created(forever)
	rt := sb.Runtime
	update := func() map[string]error { return map[string]error{"update": rt.Update(s.ctx, drivers.Live{})} }
	s.refused(drivers.StateCreated, update())
	if err := rt.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	if err := rt.Update(s.ctx, drivers.Live{}); err != nil {
		s.Errorf("update, booted: %v", err)
	}
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	s.refused(drivers.StateStopped, update())
}
