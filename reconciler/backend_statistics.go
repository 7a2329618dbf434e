package reconciler

import (
	"context"
	"slices"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// parallelStatistics bounds how many sandboxes are asked at once.
const parallelStatistics = 16

// Statistics implements api.Backend.
func (m *Manager) Statistics(ctx context.Context, req *api.StatisticsRequest) (*api.StatisticsResponse, error) {
	refs := req.GetObjects()
	if len(refs) == 0 {
		for _, key := range m.runningKeys() {
			refs = append(refs, refOf(key))
		}
	}
	resp := &api.StatisticsResponse{Items: make([]*api.SandboxStatistics, len(refs))}
	turns := make(chan struct{}, parallelStatistics)
	var asking sync.WaitGroup
	for i, ref := range refs {
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			item := &api.SandboxStatistics{Object: ref}
			if s, err := m.statistics(ctx, ref); err != nil {
				item.Error = err.Error()
			} else {
				item.Statistics = wire.FromStatistics(s)
			}
			resp.Items[i] = item
		})
	}
	asking.Wait()
	return resp, ctx.Err()
}

func (m *Manager) statistics(ctx context.Context, ref *api.Ref) (drivers.Statistics, error) {
	_, inst, err := m.running(ref)
	if err != nil {
		return drivers.Statistics{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	return inst.Statistics(ctx)
}

// runningKeys returns the sandboxes that run, sorted.
func (m *Manager) runningKeys() []manifests.Key {
	var keys []manifests.Key
	for _, o := range m.allObjects() {
		if v := o.view.Load(); v != nil && v.status.Phase == manifests.PhaseRunning {
			keys = append(keys, o.key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}
