package reconciler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// withInit is a sandbox with two init containers.
func withInit(policy, first, second string) string {
	return podLike("web", "restartPolicy: "+policy+`
initContainers:
- {name: first, image: "example.com/init:1", command: [sh, -c, "`+first+`"]}
- {name: second, image: "example.com/init:1", command: [sh, -c, "`+second+`"]}`)
}

// initStates sums up what the init containers are doing.
func (w *world) initStates(name string) string {
	var states []string
	for _, cs := range w.status(name).InitContainerStatuses {
		switch s := cs.State; {
		case s.Running != nil:
			states = append(states, "running")
		case s.Terminated != nil:
			states = append(states, s.Terminated.Reason)
		case s.Waiting != nil:
			states = append(states, s.Waiting.Reason)
		}
	}
	return strings.Join(states, " ")
}

func (w *world) wantInit(name, want string) {
	w.t.Helper()
	if got := w.initStates(name); got != want {
		w.t.Fatalf("init containers are %s, want %s\n%s", got, want, describe(w.status(name)))
	}
}

func TestInitContainersRunOneAfterTheOtherBeforeTheRest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", withInit("Always", "sleep 10", "sleep 10"))
		after(time.Second)
		w.wantInit("web", "running PodInitializing")
		w.wantPhase("web", manifests.PhaseStarting)
		w.wantCondition("web", manifests.ConditionReady, "False", "", "init container first has not completed")
		if w := w.status("web").ContainerStatuses[0].State.Waiting; w == nil || w.Reason != reasonInitializing {
			t.Errorf("the container does not wait for them: %+v", w)
		}
		after(10 * time.Second)
		w.wantInit("web", "Completed running")
		w.wantPhase("web", manifests.PhaseStarting)
		after(10 * time.Second)
		w.wantInit("web", "Completed Completed")
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")

		// They do not run again when a container does, nor with another daemon.
		w.ok(w.m.Kill(t.Context(), &api.KillRequest{Object: ref("web"), Signal: 9}))
		after(time.Minute)
		w.stop()
		w.start()
		after(time.Minute)
		w.wantInit("web", "Completed Completed")
		for _, cs := range w.status("web").InitContainerStatuses {
			if cs.RestartCount != 0 || !cs.Ready {
				t.Errorf("%+v", cs)
			}
		}
		// In a new VM they do.
		w.runtimes.process("web").kill()
		after(5 * time.Second)
		w.wantInit("web", "running PodInitializing")
		w.wantPhase("web", manifests.PhaseStarting)
		after(time.Minute)
		w.wantInit("web", "Completed Completed")
		w.wantPhase("web", manifests.PhaseRunning)
		w.ok(w.m.Restart(t.Context(), &api.RestartRequest{Object: ref("web")}))
		after(15 * time.Second)
		w.wantPhase("web", manifests.PhaseStarting)
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestInitContainerThatFails(t *testing.T) {
	for policy, want := range map[string]struct {
		state string
		phase manifests.Phase
	}{
		// As the kubelet: an init container is tried again unless the policy is Never.
		"Always":    {"CrashLoopBackOff PodInitializing", manifests.PhaseStarting},
		"OnFailure": {"CrashLoopBackOff PodInitializing", manifests.PhaseStarting},
		"Never":     {"Error Stopped", manifests.PhaseFailed},
	} {
		t.Run(policy, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.write("web.yaml", withInit(policy, "exit 3", "exit 0"))
				after(10 * time.Second)
				w.wantInit("web", want.state)
				w.wantPhase("web", want.phase)
				cs := w.status("web").InitContainerStatuses[0]
				if policy == "Never" {
					w.wantCondition("web", manifests.ConditionFinished, "True", ReasonPodFailed, "init container first exited with code 3")
					if p := w.runtimes.process("web"); p != nil {
						t.Error("the VM is still there")
					}
				} else if cs.RestartCount == 0 || cs.LastTerminationState.Terminated.ExitCode != 3 {
					t.Errorf("%+v", cs)
				}
				if cs := w.status("web").ContainerStatuses[0]; cs.State.Running != nil {
					t.Errorf("the container was started: %+v", cs)
				}
			})
		})
	}
}

func TestSandboxWithInitContainersRunsToCompletion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", strings.Replace(withInit("Never", "exit 0", "exit 0"), "[serve]", "[sh, -c, exit 0]", 1))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseSucceeded)
		w.wantInit("web", "Completed Completed")
		// Once more from the beginning.
		w.ok(w.m.Start(t.Context(), &api.StartRequest{Object: ref("web")}))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseSucceeded)
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("%d VMs were started, want 2", n)
		}
	})
}

func TestPlanPausesAfterTheInitContainersOnly(t *testing.T) {
	d := Desired{Goal: GoalPause, InitContainers: []string{"i"}, Containers: []string{"c"}}
	o := Observed{
		Now: time.Unix(100, 0), Attach: AttachUp, State: drivers.StateRunning, Prepared: true,
		Processes:  map[string]drivers.ProcessState{"i": drivers.ProcessRunning, "c": drivers.ProcessCreated},
		Containers: map[string]ObservedContainer{},
	}
	step := func(want ...Action) {
		t.Helper()
		if got := plan(d, o).Actions; !slices.Equal(got, want) {
			t.Errorf("plan %v, want %v", got, want)
		}
	}
	step()
	o.Processes["i"] = drivers.ProcessExited
	step(Action{ActStart, "i"}) // it failed
	o.Containers["i"] = ObservedContainer{StartAfter: time.Unix(200, 0)}
	step()
	o.Containers["i"] = ObservedContainer{Done: true} // for good
	step()
	o.Containers["i"] = ObservedContainer{Done: true, Completed: true}
	step(Action{ActStart, "c"})
	o.Processes["c"] = drivers.ProcessRunning
	step(Action{Verb: ActPause})
}
