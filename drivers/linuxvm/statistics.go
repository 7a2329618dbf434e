package linuxvm

import (
	"context"
	"fmt"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

// Statistics asks the agent, and the host for the machine's own share.
func (s *sandbox) Statistics(ctx context.Context) (drivers.Statistics, error) {
	s.mu.Lock()
	if err := s.require("statistics", drivers.StateRunning); err != nil {
		s.mu.Unlock()
		return drivers.Statistics{}, err
	}
	v := s.vm
	id := procfs.ID{PID: s.machine.PID, StartTime: s.machine.StartTime}
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := v.client.agent.Statistics(ctx, &agentpb.StatisticsRequest{})
	if err != nil {
		return drivers.Statistics{}, fmt.Errorf("statistics: %w", wire.FromStatus(err))
	}
	stats := wire.ToStatistics(m)
	stats.Time = time.Now()
	for name := range stats.Containers {
		if _, ok := v.container(name); !ok {
			delete(stats.Containers, name)
		}
	}
	stats.HostMemoryBytes = 0
	if id.PID > 0 {
		if stats.HostMemoryBytes, err = id.ResidentBytes(); err != nil {
			return drivers.Statistics{}, fmt.Errorf("statistics: the hypervisor's memory: %w", err)
		}
	}
	return stats, nil
}
