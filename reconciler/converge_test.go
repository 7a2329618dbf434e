package reconciler

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/manifests"
)

func TestManifestBecomesRunningSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "True", ReasonDependenciesReady, "")
		w.wantCondition("web", manifests.ConditionSynced, "True", ReasonSynced, "")
		w.wantCondition("web", manifests.ConditionImageReady, "True", ReasonImagesPresent, "")
		w.wantCondition("web", manifests.ConditionBooted, "True", ReasonAgentUp, "")
		w.wantCondition("web", manifests.ConditionReconciling, "", "", "")
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		w.wantEvent("web", "Ready")
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("launched %d times", n)
		}
		var stages []string
		for _, s := range w.status("web").Runtime.Stages {
			stages = append(stages, s.Name)
		}
		want := "seen planned imageReady pluginUp bootstrap vmStarted agentUp booted running"
		if got := strings.Join(stages, " "); got != want {
			t.Errorf("stages %q, want %q", got, want)
		}
	})
}

func TestTwentySandboxesAtOnceNoneStartsTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.BootDelay = duration(time.Second)
		for i := range 20 {
			w.files[fmt.Sprintf("f%d.yaml", i)] = sandbox(fmt.Sprintf("s%d", i))
		}
		w.look()
		after(time.Second / 2)
		waiting := 0
		for i := range 20 {
			for _, c := range w.status(fmt.Sprintf("s%d", i)).Conditions {
				if c.Reason == ReasonWaitingForTurn {
					waiting++
				}
			}
		}
		if waiting != 18 {
			t.Errorf("%d sandboxes say that they wait for their turn, want 18", waiting)
		}
		after(time.Minute)
		for i := range 20 {
			name := fmt.Sprintf("s%d", i)
			w.wantPhase(name, manifests.PhaseRunning)
			w.wantCondition(name, manifests.ConditionReady, "True", "", "")
			if n := w.runtimes.launched(name); n != 1 {
				t.Errorf("%s launched %d times", name, n)
			}
		}
		if w.runtimes.maxBoots > 2 {
			t.Errorf("%d booted at once, want 2 at most", w.runtimes.maxBoots)
		}
	})
}

func TestSlowPullDelaysNoOtherSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.images.delay = time.Hour
		for i := range 40 {
			w.files[fmt.Sprintf("slow%d.yaml", i)] = sandbox(fmt.Sprintf("slow%d", i))
		}
		w.look()
		after(time.Second)
		w.images.mu.Lock()
		w.images.delay = 0
		w.images.mu.Unlock()
		w.write("web.yaml", sandbox("web"))
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantPhase("slow0", manifests.PhasePending)
		w.wantCondition("slow0", manifests.ConditionImageReady, "False", ReasonPulling, "")
	})
}

func TestLabelEditRestartsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		boot := w.status("web").Runtime.BootID
		w.write("web.yaml", strings.Replace(sandbox("web"), "{name: web}", "{name: web, labels: {a: b}}", 1))
		if v := w.view("web"); v.labels["a"] != "b" || v.generation != 1 {
			t.Errorf("labels %v, generation %d", v.labels, v.generation)
		}
		w.wantPhase("web", manifests.PhaseRunning)
		if got := w.status("web").Runtime.BootID; got != boot || w.runtimes.launched("web") != 1 {
			t.Errorf("another boot")
		}
	})
}

func TestLiveSpecEditRestartsNothingAndIsObserved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.write("web.yaml", podLike("web", "restartPolicy: OnFailure"))
		after(time.Minute)
		if st := w.status("web"); st.ObservedGeneration != 2 || w.runtimes.launched("web") != 1 {
			t.Errorf("generation %d observed, launched %d times", st.ObservedGeneration, w.runtimes.launched("web"))
		}
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
	})
}

func TestImageEditRecreatesOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		disk := makeDisk(t, w, "web")
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		st := w.status("web")
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("launched %d times, want 2", n)
		}
		if cs := st.ContainerStatuses[0]; cs.Image != "example.com/app:2" || cs.ImageID != "sha256:example.com/app:2" || cs.RestartCount != 0 {
			t.Errorf("container %+v", cs)
		}
		if st.ObservedGeneration != 2 {
			t.Errorf("generation %d observed", st.ObservedGeneration)
		}
		if exists(disk) {
			t.Error("the old disk is still there")
		}
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
	})
}

func TestNewImageThatCannotBePulledLeavesTheOldSandboxRunning(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.images.fail("example.com/app:2", fmt.Errorf("%w: example.com has no such image", images.ErrNotFound))
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonProgressing, "")
		w.wantCondition("web", manifests.ConditionImageReady, "False", ReasonImageFailed, "no such image")
		w.wantCondition("web", manifests.ConditionStalled, "True", "", "no such image")
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonDependenciesNot, "")
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("launched %d times", n)
		}
		w.write("web.yaml", sandbox("web"))
		after(time.Hour)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("after the edit was taken back: launched %d times", n)
		}
	})
}

func TestMendedImageNameIsTriedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.images.fail("example.com/app:1", errors.New("no route to host"))
		w.write("web.yaml", sandbox("web"))
		after(time.Hour) // The back-off is minutes now.
		w.wantPhase("web", manifests.PhasePending)
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestHangingBootIsGivenUpWhenTheManifestChanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.BootHang = true
		w.write("web.yaml", sandbox("web"))
		after(time.Second)
		w.wantPhase("web", manifests.PhaseStarting)
		w.runtimes.mu.Lock()
		w.runtimes.faults.BootHang = false
		w.runtimes.mu.Unlock()
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		after(2 * time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestMissingKernelSaysWhatToInstallAndIsNoticed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kernels.set(fmt.Errorf(`kernel "default" is %w; run "vzctl kernel install"`, kernels.ErrNotInstalled))
		w.write("web.yaml", sandbox("web"))
		after(time.Hour)
		w.wantPhase("web", manifests.PhasePending)
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonHostNotReady, "vzctl kernel install")
		w.wantCondition("web", manifests.ConditionReady, "False", "", "vzctl kernel install")
		w.kernels.set(nil)
		after(hostDelay)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
	})
}

func TestUnknownRuntimeStalls(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", podLike("web", "runtimeClassName: nosuch"))
		w.wantPhase("web", manifests.PhasePending)
		w.wantCondition("web", manifests.ConditionStalled, "True", "", "nosuch")
	})
}

func TestRemovedFileLeavesNothingBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		makeDisk(t, w, "web")
		w.remove("web.yaml")
		after(time.Minute)
		if w.view("web") != nil {
			t.Fatal("the object is still there")
		}
		if exists(string(w.state.Bundle("default", "web"))) || exists(w.state.Sandboxes()+"/default") {
			t.Error("the bundle is still there")
		}
		if w.runtimes.process("web") != nil {
			t.Error("the plugin process still runs")
		}
	})
}

func TestDeletedSandboxIsVisibleUntilItIsGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.IgnoreSignals = true
		w.write("web.yaml", podLike("web", "terminationGracePeriodSeconds: 20"))
		w.remove("web.yaml")
		after(10 * time.Second)
		w.wantPhase("web", manifests.PhaseStopping)
		if w.view("web").deleted == nil {
			t.Error("no deletionTimestamp")
		}
		// What comes back meanwhile is another one.
		uid := w.view("web").uid
		w.write("web.yaml", sandbox("web"))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		if w.view("web").uid == uid {
			t.Error("the successor has the same uid")
		}
	})
}

func TestSuspendEndsTheVMAndKeepsTheDisk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		disk := makeDisk(t, w, "web")
		suspended := strings.Replace(sandbox("web"), "spec:\n", "spec:\n  operatingMode: Suspended\n", 1)
		w.write("web.yaml", suspended)
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseStopped)
		w.wantCondition("web", manifests.ConditionSuspended, "True", ReasonPodTerminated, "")
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonSandboxSuspended, "")
		if w.runtimes.process("web") != nil || !exists(disk) {
			t.Error("want no process, and the disk kept")
		}
		w.write("web.yaml", sandbox("web"))
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSuspended, "False", ReasonNotSuspended, "")
		if cs := w.status("web").ContainerStatuses[0]; cs.RestartCount != 0 || !exists(disk) {
			t.Errorf("restarts %d, want 0; the disk must be the same", cs.RestartCount)
		}
	})
}

func TestEditOfASuspendedSandboxAwaitsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		suspended := strings.Replace(sandbox("web"), "spec:\n", "spec:\n  operatingMode: Suspended\n", 1)
		w.write("web.yaml", sandbox("web"))
		w.write("web.yaml", suspended)
		w.write("web.yaml", strings.Replace(suspended, "app:1", "app:2", 1))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionSuspended, "True", ReasonPodTerminated, "")
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		w.wantCondition("web", manifests.ConditionReconciling, "", "", "")
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		if id := w.status("web").ContainerStatuses[0].ImageID; id != "sha256:example.com/app:2" {
			t.Errorf("image %s", id)
		}
	})
}

func TestPausePausesAndResumes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		boot := w.status("web").Runtime.BootID
		paused := strings.Replace(sandbox("web"), "spec:\n", "spec:\n  operatingMode: Paused\n", 1)
		w.write("web.yaml", paused)
		w.wantPhase("web", manifests.PhasePaused)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonSandboxPaused, "")
		w.wantCondition("web", manifests.ConditionReconciling, "", "", "")
		w.write("web.yaml", sandbox("web"))
		w.wantPhase("web", manifests.PhaseRunning)
		if w.status("web").Runtime.BootID != boot {
			t.Error("another boot")
		}
		w.write("web.yaml", paused)
		w.remove("web.yaml")
		after(time.Minute)
		if w.view("web") != nil {
			t.Error("a paused sandbox was not removed")
		}
	})
}

func TestBootFailureIsRetriedWithBackoff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.BootError = "the guest did not answer"
		w.write("web.yaml", sandbox("web"))
		after(10 * time.Second) // at 0, 1, 3 and 7 s
		if n := w.runtimes.launched("web"); n != 4 {
			t.Errorf("launched %d times in 10 s, want 4", n)
		}
		w.wantCondition("web", manifests.ConditionBooted, "False", ReasonBootFailed, "the guest did not answer")
		if w.runtimes.process("web") != nil {
			t.Error("a plugin process is kept between the attempts")
		}
		w.runtimes.mu.Lock()
		w.runtimes.faults.BootError = ""
		w.runtimes.mu.Unlock()
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestRejectedConfigurationStalls(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", strings.Replace(sandbox("web"), "spec:\n", "spec:\n  vm: {runtimeData: {nosuch: 1}}\n", 1))
		w.wantCondition("web", manifests.ConditionStalled, "True", "PrepareFailed", "spec.vm.runtimeData.nosuch: unknown field")
		if n := w.runtimes.launched("web"); n != 0 {
			t.Errorf("launched %d times for what its runtime does not take", n)
		}
	})
}
