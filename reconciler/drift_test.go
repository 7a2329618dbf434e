package reconciler

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		disk       int
	}{
		{"the VM is killed", func(w *world) { w.runtimes.process("web").Crash("killed") }, 1, 0, 0},
		{"the plugin process is killed, and the VM with it", func(w *world) { w.runtimes.process("web").kill() }, 1, 1, 0},
		{"the plugin process is killed, its VM runs on", func(w *world) {
			w.outliving()
			_ = w.m.Restart(w.t.Context(), &api.RestartRequest{Object: &api.Ref{Name: "web"}})
			after(time.Minute) // The record names its VM's process now.
			w.runtimes.abandon("web")
		}, 0, 1, 0},
		{"both are killed while no daemon runs", func(w *world) {
			w.stop()
			p := w.runtimes.process("web")
			w.runtimes.forget(p)
			p.kill()
			w.start()
		}, 1, 0, 0},
		{"a user stops it and starts it again", func(w *world) {
			ref := &api.Ref{Name: "web"}
			_ = w.m.Stop(w.t.Context(), &api.StopRequest{Object: ref})
			after(time.Minute)
			_ = w.m.Start(w.t.Context(), &api.StartRequest{Object: ref})
		}, 0, 0, 0},
		{"its disk is removed", func(w *world) {
			w.onDisks("web", func(disk string) { _ = os.Remove(disk) })
		}, 0, 0, 1},
		{"its disk is replaced", func(w *world) {
			w.onDisks("web", func(disk string) {
				_ = os.Rename(disk, disk+".old")
				_ = os.WriteFile(disk, []byte("another"), 0o600)
			})
		}, 0, 0, 1},
		{"its disk is cut short", func(w *world) {
			w.onDisks("web", func(disk string) { _ = os.Truncate(disk, 1) })
		}, 0, 0, 1},
		{"the disk of an emptyDir is removed", func(w *world) {
			path := filepath.Join(w.state.Bundle("default", "web").VolumesDir(), "scratch.img")
			_ = os.MkdirAll(filepath.Dir(path), 0o700)
			_ = os.WriteFile(path, []byte("as the runtime makes it"), 0o600)
			w.onDisks("web", func(string) { _ = os.Remove(path) })
		}, 0, 0, 1},
		{"its disk is written to", func(w *world) {
			w.onDisks("web", func(disk string) { _ = os.Truncate(disk, 1<<20) })
		}, 0, 0, 0},
		{"its manifest changes", func(w *world) { w.write("web.yaml", sandbox("web", "workingDir: /tmp")) }, 0, 0, 0},
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
				w.wantMetric(fmt.Sprintf(`vzreconciler_drift_total{kind="disk"} %d`, tc.disk))
				if n := w.runtimes.launched("web"); tc.disk > 0 && n != 3 { // at first, on its disk, and anew
					t.Errorf("%d VMs were started, want 3", n)
				}
			})
		})
	}
}

// onDisks changes the disk of a sandbox that runs on one, and has it looked at.
func (w *world) onDisks(name string, change func(disk string)) {
	w.t.Helper()
	disk := w.state.Bundle("default", name).Disk()
	if err := os.WriteFile(disk, []byte("as the runtime makes it"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.ok(w.m.Restart(w.t.Context(), &api.RestartRequest{Object: &api.Ref{Name: name}}))
	after(time.Minute)
	w.look()
	w.wantCondition(name, manifests.ConditionSynced, "True", "", "")
	change(disk)
	after(time.Minute)
	w.look()
}

func TestLostVolumeIsToldAndLeftAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		v, err := w.m.volumes.Get("default", "data")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(v.Disk(), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.write("web.yaml", user("web", false))
		after(time.Minute)
		if err := os.Remove(v.Disk()); err != nil {
			t.Fatal(err)
		}
		for range 3 { // told once
			w.look()
			after(time.Minute)
		}
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonVolumeLost, "claim data was removed")
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		w.wantEvent("web", ReasonVolumeLost)
		w.wantMetric(`vzreconciler_drift_total{kind="disk"} 1`)
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("%d VMs were started, want 1", n)
		}
		// No new VM gets an empty one instead: the one that runs is the last to have it.
		w.ok(w.m.Restart(t.Context(), &api.RestartRequest{Object: &api.Ref{Name: "web"}}))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonVolumeLost, "copy out what is needed")
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("%d VMs were started, want 1", n)
		}
		// A new VM has what is there then.
		w.written("data", "precious")
		after(10 * time.Minute)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("%d VMs were started, want 2", n)
		}
	})
}

func TestDiskIsNotMadeAnewWhileAVolumeIsLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		w.written("data", "precious")
		w.write("web.yaml", user("web", false))
		after(time.Minute)
		w.onDisks("web", func(disk string) {
			for _, path := range []string{disk, filepath.Join(w.state.Volumes(), "default", "data", "disk.img")} {
				// Another file is in its place, so that no lack of one is what keeps the VM.
				if err := errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, []byte("another one that is there"), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		})
		after(time.Minute)
		w.look()
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonVolumeLost, "claim data was replaced")
		if n := w.runtimes.launched("web"); n != 2 { // at first, and on its disk
			t.Errorf("%d VMs were started, want 2", n)
		}
	})
}

func TestVolumeThatLostItsDiskIsNotReplacedByAnEmptyOne(t *testing.T) {
	const lost = "the volume of PersistentVolumeClaim default/data has lost its disk"
	for name, mend := range map[string]func(*world){
		"the disk is put back": func(w *world) { w.written("data", "precious") },
		"what was on it is given up": func(w *world) {
			w.ok(w.m.Stop(w.t.Context(), &api.StopRequest{Object: &api.Ref{Name: "web"}}))
			after(time.Minute)
			w.removeVolume("data")
			w.ok(w.m.Start(w.t.Context(), &api.StartRequest{Object: &api.Ref{Name: "web"}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
				w.written("data", "precious")
				w.write("web.yaml", user("web", false))
				after(time.Minute)
				w.wantPhase("web", manifests.PhaseRunning)
				w.stop()
				if err := os.Remove(filepath.Join(w.state.Volumes(), "default", "data", "disk.img")); err != nil {
					t.Fatal(err)
				}
				w.runtimes.killAll()
				w.start() // Nobody has seen it go.
				after(time.Minute)
				w.wantPhase("web", manifests.PhasePending)
				w.wantCondition("web", manifests.ConditionSynced, "False", ReasonVolumeLost, lost)

				// Nor is it the source of an empty copy.
				w.write("copied.yaml", strings.Replace(claimYAML("copied", "1Gi", "Retain", "ReadWriteOnce"), "spec: {", "spec: {dataSource: {kind: PersistentVolumeClaim, name: data}, ", 1))
				w.write("b.yaml", strings.Replace(user("b", false), "claimName: data", "claimName: copied", 1))
				after(time.Minute)
				w.wantCondition("b", manifests.ConditionSynced, "False", ReasonVolumeLost, lost)
				w.remove("b.yaml", "copied.yaml")

				mend(w)
				after(10 * time.Minute)
				w.wantPhase("web", manifests.PhaseRunning)
				w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
			})
		})
	}
}
