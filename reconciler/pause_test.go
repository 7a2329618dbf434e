package reconciler

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func ref(name string) *api.Ref { return &api.Ref{Name: name} }

func (w *world) pause(name string) error {
	return w.m.Pause(w.t.Context(), &api.PauseRequest{Object: ref(name)})
}

func (w *world) resume(name string) error {
	return w.m.Resume(w.t.Context(), &api.ResumeRequest{Object: ref(name)})
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func TestPauseIsRememberedUntilResume(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		after(time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		for range 2 { // the second time it is so already
			w.ok(w.pause("web"))
			w.wantPhase("web", manifests.PhasePaused)
		}
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonSandboxPaused, "vzctl resume")
		w.wantCondition("web", manifests.ConditionReconciling, "", "", "")

		// Neither a daemon's restart nor an edit that is applied live ends it.
		w.stop()
		w.start()
		after(time.Second)
		w.wantPhase("web", manifests.PhasePaused)
		w.write("web.yaml", podLike("web", "terminationGracePeriodSeconds: 3"))
		after(time.Second)
		w.wantPhase("web", manifests.PhasePaused)

		for range 2 {
			w.ok(w.resume("web"))
			w.wantPhase("web", manifests.PhaseRunning)
		}
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("%d VMs were started", n)
		}
	})
}

func TestAVMMadeAnewWhilePausedIsPausedToo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		after(time.Second)
		w.ok(w.pause("web"))
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		after(10 * time.Second)
		w.wantPhase("web", manifests.PhasePaused)
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("%d VMs were started, want 2", n)
		}
	})
}

func TestWhatEndsAPause(t *testing.T) {
	for name, end := range map[string]func(w *world) error{
		"start":   func(w *world) error { return w.m.Start(w.t.Context(), &api.StartRequest{Object: ref("web")}) },
		"restart": func(w *world) error { return w.m.Restart(w.t.Context(), &api.RestartRequest{Object: ref("web")}) },
		"stop and start": func(w *world) error {
			if err := w.m.Stop(w.t.Context(), &api.StopRequest{Object: ref("web")}); err != nil {
				return err
			}
			after(time.Minute)
			w.wantPhase("web", manifests.PhaseStopped)
			return w.m.Start(w.t.Context(), &api.StartRequest{Object: ref("web")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(_ *testing.T, w *world) {
				w.write("web.yaml", sandbox("web"))
				after(time.Second)
				w.ok(w.pause("web"))
				w.ok(end(w))
				after(time.Minute)
				w.wantPhase("web", manifests.PhaseRunning)
			})
		})
	}
}

func TestPauseAndResumeAreRefusedWhereTheyCannotBe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("suspended.yaml", strings.Replace(sandbox("suspended"), "spec:\n", "spec:\n  operatingMode: Suspended\n", 1))
		w.write("paused.yaml", strings.Replace(sandbox("paused"), "spec:\n", "spec:\n  operatingMode: Paused\n", 1))
		w.write("stopped.yaml", sandbox("stopped"))
		w.write("ended.yaml", strings.Replace(podLike("ended", "restartPolicy: Never"), "[serve]", "[sh, -c, exit 0]", 1))
		after(time.Second)
		w.ok(w.m.Stop(t.Context(), &api.StopRequest{Object: ref("stopped")}))
		for name, err := range map[string]error{
			"vzctl start":              w.pause("stopped"),
			"operatingMode: Suspended": w.pause("suspended"),
			"it has ended":             w.pause("ended"),
			"operatingMode: Paused":    w.resume("paused"),
		} {
			if !errors.Is(err, drivers.ErrInvalidState) || !strings.Contains(err.Error(), name) {
				t.Errorf("want a refusal that says %q, got %v", name, err)
			}
		}
		if err := w.pause("nosuch"); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("pause of what is not there: %v", err)
		}
	})
}

func TestKillSignalsTheContainerAndThePolicyDoesTheRest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		after(time.Second)
		kill := func(container string, signal int32) error {
			return w.m.Kill(t.Context(), &api.KillRequest{Object: ref("web"), Container: container, Signal: signal})
		}
		w.ok(kill("", 9))
		after(time.Minute)
		cs := w.status("web").ContainerStatuses[0]
		if last := cs.LastTerminationState.Terminated; cs.RestartCount != 1 || cs.State.Running == nil || last == nil || last.ExitCode != 137 {
			t.Errorf("after a kill: %+v", cs)
		}
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("%d VMs were started", n)
		}
		if err := kill("nosuch", 9); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("kill in a container that is not there: %v", err)
		}
		if err := kill("main", 77); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("kill with a signal that is none: %v", err)
		}
		w.ok(w.pause("web"))
		if err := kill("", 9); !errors.Is(err, drivers.ErrInvalidState) {
			t.Errorf("kill in a paused sandbox: %v", err)
		}
	})
}
