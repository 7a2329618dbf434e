package linuxvm

import (
	"errors"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestUpdateReachesTheAgent(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		live := drivers.Live{Limits: []drivers.ContainerLimits{{Container: "web", MemoryBytes: 1 << 20}}}
		if err := rt.Update(t.Context(), live); err != nil {
			t.Fatal(err)
		}
		if u := h.agent.updates; len(u) != 1 || u[0].GetLimits()[0].GetMemoryBytes() != 1<<20 {
			t.Errorf("the agent was told %v", u)
		}
		live.Limits[0].Container = "other"
		if err := rt.Update(t.Context(), live); !errors.Is(err, drivers.ErrNotFound) || len(h.agent.updates) != 1 {
			t.Errorf("a container that is not there: %v", err)
		}
		if err := rt.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := rt.Update(t.Context(), drivers.Live{}); !errors.Is(err, drivers.ErrInvalidState) {
			t.Errorf("while paused: %v", err)
		}
	})
}

// A guest may have been booted by an earlier version of the plugin.
func TestUpdateOfAnOlderGuestIsNotSupported(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		h.agent.noUpdate = true
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		if err := rt.Update(t.Context(), drivers.Live{}); !errors.Is(err, drivers.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	})
}
