package reconciler

import (
	"fmt"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func TestWhatChangesBehindOurBackIsRepairedAndCounted(t *testing.T) {
	for _, tc := range []struct {
		name       string
		change     func(*world)
		vm, plugin int
	}{
		{"the VM is killed", func(w *world) { w.runtimes.process("web").Crash("killed") }, 1, 0},
		{"the plugin process is killed, and the VM with it", func(w *world) { w.runtimes.process("web").kill() }, 1, 1},
		{"the plugin process is killed, its VM runs on", func(w *world) {
			w.outliving()
			_ = w.m.Restart(w.t.Context(), &api.RestartRequest{Object: &api.Ref{Name: "web"}})
			after(time.Minute) // The record names its VM's process now.
			w.runtimes.abandon("web")
		}, 0, 1},
		{"both are killed while no daemon runs", func(w *world) {
			w.stop()
			p := w.runtimes.process("web")
			w.runtimes.forget(p)
			p.kill()
			w.start()
		}, 1, 0},
		{"a user stops it and starts it again", func(w *world) {
			ref := &api.Ref{Name: "web"}
			_ = w.m.Stop(w.t.Context(), &api.StopRequest{Object: ref})
			after(time.Minute)
			_ = w.m.Start(w.t.Context(), &api.StartRequest{Object: ref})
		}, 0, 0},
		{"its manifest changes", func(w *world) { w.write("web.yaml", sandbox("web", "workingDir: /tmp")) }, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(_ *testing.T, w *world) {
				w.write("web.yaml", sandbox("web"))
				tc.change(w)
				after(time.Minute)
				w.wantPhase("web", manifests.PhaseRunning)
				w.wantCondition("web", manifests.ConditionReady, "True", "", "")
				w.wantMetric(fmt.Sprintf(`vzreconciler_drift_total{kind="vm"} %d`, tc.vm))
				w.wantMetric(fmt.Sprintf(`vzreconciler_drift_total{kind="plugin"} %d`, tc.plugin))
			})
		})
	}
}
