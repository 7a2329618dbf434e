package reconciler

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// outliving has VMs run in a process that outlives every plugin process: the
// test's own.
func (w *world) outliving() {
	w.t.Helper()
	id, err := procfs.Lookup(os.Getpid())
	if err != nil {
		w.t.Fatal(err)
	}
	w.runtimes.mu.Lock()
	w.runtimes.hypervisor = id
	w.runtimes.mu.Unlock()
}

func TestVMOfAKilledPluginProcessIsTakenOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.outliving()
		w.write("web.yaml", sandbox("web"))
		after(time.Minute)
		before := w.status("web")
		w.runtimes.abandon("web")
		after(time.Second)

		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "True", ReasonDependenciesReady, "")
		w.wantEvent("web", "PluginRestarted")
		st := w.status("web")
		if was, is := before.ContainerStatuses[0], st.ContainerStatuses[0]; is.RestartCount != 0 || !is.State.Running.StartedAt.Equal(&was.State.Running.StartedAt) {
			t.Errorf("the container is %+v, was %+v", is, was)
		}
		if st.Runtime.BootID != before.Runtime.BootID || st.Runtime.PluginPID == before.Runtime.PluginPID {
			t.Errorf("runtime %+v, was %+v", st.Runtime, before.Runtime)
		}
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("%d plugin processes were launched, want 2", n)
		}
	})
}

func TestVMThatNobodyCanTakeOverIsLostAndReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.outliving()
		w.write("web.yaml", sandbox("web"))
		after(time.Minute)
		before := w.status("web").Runtime.BootID
		w.runtimes.mu.Lock()
		w.runtimes.err = errors.New("the plugin is broken")
		w.runtimes.mu.Unlock()
		w.runtimes.abandon("web")
		after(2 * time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonDependenciesNot, "the plugin is broken")

		after(time.Minute)
		w.wantEvent("web", ReasonVMLost)
		w.runtimes.mu.Lock()
		w.runtimes.err = nil
		w.runtimes.mu.Unlock()
		after(6 * time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		st := w.status("web")
		if st.Runtime.BootID == before || st.ContainerStatuses[0].RestartCount != 1 {
			t.Errorf("boot %s after %s, %d restarts", st.Runtime.BootID, before, st.ContainerStatuses[0].RestartCount)
		}
	})
}

func TestRemovedSandboxIsEndedThoughItsPluginProcessIsGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.outliving()
		w.write("web.yaml", sandbox("web"))
		after(time.Minute)
		w.runtimes.mu.Lock()
		w.runtimes.err = errors.New("the plugin is broken")
		w.runtimes.mu.Unlock()
		w.runtimes.abandon("web")
		w.remove("web.yaml")
		after(time.Minute)
		if v := w.view("web"); v != nil {
			t.Errorf("it is still there: %+v", v)
		}
	})
}

func TestVMLeftByPluginProcessAndDaemonIsTakenOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.outliving()
		w.write("web.yaml", sandbox("web"))
		after(time.Minute)
		before := w.status("web")
		w.stop()
		w.runtimes.abandon("web")
		w.start()
		after(5 * time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		if st := w.status("web"); st.Runtime.BootID != before.Runtime.BootID || st.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("status %+v, was %+v", st, before)
		}
		if p := w.runtimes.process("web"); p == nil {
			t.Error("there is no plugin process")
		} else if s, err := p.State(t.Context()); err != nil || s.State != drivers.StateRunning {
			t.Errorf("state %s, %v", s.State, err)
		}
	})
}

func TestDisksOfAVMThatWasTakenOverAreWatched(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.outliving()
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		w.written("data", "precious")
		w.write("web.yaml", user("web", false))
		after(time.Minute)
		w.stop()
		w.runtimes.abandon("web")
		w.start()
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if err := os.Remove(filepath.Join(w.state.Volumes(), "default", "data", "disk.img")); err != nil {
			t.Fatal(err)
		}
		w.look()
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonVolumeLost, "claim data was removed")
	})
}
