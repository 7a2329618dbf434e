package reconciler

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func exits(code int, after time.Duration) func(w *world) {
	return func(w *world) {
		w.runtimes.faults.ExitAfter, w.runtimes.faults.ExitCode = duration(after), code
	}
}

func TestRestartBackoffDoublesUpToFiveMinutes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(1, time.Millisecond)(w)
		w.write("web.yaml", sandbox("web"))
		after(10 * time.Second) // runs at 0, 1, 3 and 7 s
		cs := w.status("web").ContainerStatuses[0]
		if cs.RestartCount != 3 {
			t.Errorf("%d restarts in 10 s, want 3", cs.RestartCount)
		}
		if cs.State.Waiting == nil || cs.State.Waiting.Reason != reasonCrashLoop {
			t.Errorf("state %+v", cs.State)
		}
		if last := cs.LastTerminationState.Terminated; last == nil || last.ExitCode != 1 || last.Reason != reasonError {
			t.Errorf("last state %+v", cs.LastTerminationState)
		}
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonDependenciesNot, "back-off 8s")
		after(time.Hour)
		before := w.status("web").ContainerStatuses[0].RestartCount
		after(time.Hour)
		if n := w.status("web").ContainerStatuses[0].RestartCount - before; n != 12 {
			t.Errorf("%d restarts in a later hour, want 12", n)
		}
		if w.runtimes.launched("web") != 1 {
			t.Error("the VM was started again")
		}
	})
}

func TestRestartBackoffBeginsAnewAfterTenMinutes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(1, steadyAfter)(w)
		w.write("web.yaml", sandbox("web"))
		after(5 * (steadyAfter + time.Second))
		if n := w.status("web").ContainerStatuses[0].RestartCount; n != 5 {
			t.Errorf("%d restarts, want 5: each after a second", n)
		}
		w.wantMetric(`vzreconciler_sandbox_restarts_total{container="main",name="web",namespace="default"} 5`)
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, tc := range []struct {
		policy   string
		code     int
		phase    manifests.Phase
		reason   string
		restarts bool
	}{
		{"Never", 0, manifests.PhaseSucceeded, ReasonPodSucceeded, false},
		{"Never", 3, manifests.PhaseFailed, ReasonPodFailed, false},
		{"OnFailure", 0, manifests.PhaseSucceeded, ReasonPodSucceeded, false},
		{"OnFailure", 3, manifests.PhaseRunning, "", true},
		{"Always", 0, manifests.PhaseRunning, "", true},
	} {
		t.Run(tc.policy+" "+string(tc.phase), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				exits(tc.code, time.Second)(w)
				w.write("web.yaml", podLike("web", "restartPolicy: "+tc.policy))
				after(time.Hour)
				w.wantPhase("web", tc.phase)
				if tc.restarts != (w.status("web").ContainerStatuses[0].RestartCount > 0) {
					t.Errorf("%d restarts", w.status("web").ContainerStatuses[0].RestartCount)
				}
				if tc.restarts {
					w.wantCondition("web", manifests.ConditionFinished, "", "", "")
					return
				}
				w.wantCondition("web", manifests.ConditionFinished, "True", tc.reason, "")
				w.wantCondition("web", manifests.ConditionReconciling, "", "", "")
				if w.runtimes.process("web") != nil {
					t.Error("a finished sandbox keeps its VM")
				}
				if s := w.status("web").ContainerStatuses[0].State.Terminated; s == nil || int(s.ExitCode) != tc.code {
					t.Errorf("terminated %+v", s)
				}
				// It stays finished across a restart of the daemon.
				w.stop()
				w.start()
				after(time.Hour)
				w.wantPhase("web", tc.phase)
				if w.runtimes.launched("web") != 1 {
					t.Error("it was started again")
				}
			})
		})
	}
}

func TestFinishedSandboxRunsAgainOnRestartAndOnEdit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(0, time.Second)(w)
		w.write("job.yaml", podLike("job", "restartPolicy: Never"))
		after(time.Minute)
		w.wantPhase("job", manifests.PhaseSucceeded)
		if err := w.m.Restart(t.Context(), &api.RestartRequest{Object: &api.Ref{Name: "job"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantPhase("job", manifests.PhaseSucceeded)
		if n := w.runtimes.launched("job"); n != 2 {
			t.Errorf("launched %d times, want 2", n)
		}
		w.write("job.yaml", podLike("job", "restartPolicy: Never", "args: [again]"))
		after(time.Minute)
		w.wantPhase("job", manifests.PhaseSucceeded)
		if n := w.runtimes.launched("job"); n != 3 {
			t.Errorf("launched %d times, want 3", n)
		}
	})
}

func TestCommandThatCannotStartIsRetriedByPolicy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.StartError = "exec: no such file"
		w.write("web.yaml", sandbox("web"))
		after(10 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "False", "", "back-off")
		if last := w.status("web").ContainerStatuses[0].LastTerminationState.Terminated; last == nil ||
			last.Reason != reasonStartError || !strings.Contains(last.Message, "no such file") {
			t.Errorf("last state %+v", last)
		}
		w.write("job.yaml", podLike("job", "restartPolicy: Never"))
		after(time.Second)
		w.wantPhase("job", manifests.PhaseFailed)
	})
}

func TestCrashedVMIsStartedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		disk := makeDisk(t, w, "web")
		w.runtimes.process("web").Crash("the virtual machine process exited: signal: killed")
		synctest.Wait()
		w.wantCondition("web", manifests.ConditionReady, "False", "", "")
		w.wantEvent("web", ReasonVMLost)
		after(firstDelay)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		cs := w.status("web").ContainerStatuses[0]
		if cs.RestartCount != 1 || cs.LastTerminationState.Terminated == nil || cs.LastTerminationState.Terminated.Reason != reasonVMLost {
			t.Errorf("container %+v", cs)
		}
		if w.runtimes.launched("web") != 2 || !exists(disk) {
			t.Errorf("launched %d times, want 2 on the same disk", w.runtimes.launched("web"))
		}
	})
}

func TestKilledPluginRecovered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.runtimes.kill(string(w.state.Bundle("default", "web")))
		after(firstDelay)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.status("web").ContainerStatuses[0].RestartCount; n != 1 {
			t.Errorf("%d restarts, want 1", n)
		}
		w.wantMetric(`vzreconciler_plugin_restarts_total{plugin="fake"} 1`)
	})
}

func TestLostVMOfPolicyNeverFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("job.yaml", podLike("job", "restartPolicy: Never"))
		w.runtimes.process("job").Crash("signal: killed")
		after(time.Hour)
		w.wantPhase("job", manifests.PhaseFailed)
		w.wantCondition("job", manifests.ConditionFinished, "True", ReasonPodFailed, "signal: killed")
		if w.runtimes.launched("job") != 1 {
			t.Error("it was started again")
		}
	})
}

func TestCrashingVMIsBackedOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.CrashAfter = duration(time.Millisecond)
		w.write("web.yaml", sandbox("web"))
		after(10 * time.Second)
		if n := w.runtimes.launched("web"); n != 4 {
			t.Errorf("launched %d times in 10 s, want 4: at 0, 1, 3 and 7 s", n)
		}
	})
}

func TestDaemonRestartAdopts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		before := w.status("web")
		uid := w.view("web").uid
		w.stop()
		if w.runtimes.process("web") == nil {
			t.Fatal("the end of the daemon ended the sandbox")
		}
		w.start()
		after(time.Second)
		st := w.status("web")
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		if st.Runtime.BootID != before.Runtime.BootID || st.Runtime.PluginPID != before.Runtime.PluginPID ||
			st.ContainerStatuses[0].RestartCount != 0 || w.view("web").uid != uid {
			t.Errorf("status %+v, before %+v", st, before)
		}
		if len(st.Runtime.Stages) != len(before.Runtime.Stages) {
			t.Errorf("stages %v, before %v", st.Runtime.Stages, before.Runtime.Stages)
		}
		for _, c := range st.Conditions {
			for _, b := range before.Conditions {
				if c.Type == b.Type && !c.LastTransitionTime.Time.Equal(b.LastTransitionTime.Time) {
					t.Errorf("%s has a new transition time", c.Type)
				}
			}
		}
	})
}

func TestExitWhileNoDaemonRanCounts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("job.yaml", podLike("job", "restartPolicy: Never"))
		w.write("web.yaml", sandbox("web"))
		w.stop()
		for _, name := range []string{"job", "web"} {
			if err := w.runtimes.process(name).ExitProcess("main", drivers.ExitStatus{Code: 4}); err != nil {
				t.Fatal(err)
			}
		}
		w.start()
		after(time.Minute)
		w.wantPhase("job", manifests.PhaseFailed)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.status("web").ContainerStatuses[0].RestartCount; n != 1 {
			t.Errorf("%d restarts, want 1", n)
		}
	})
}

func TestSandboxLostWhileNoDaemonRanIsRecovered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.stop()
		w.runtimes.killAll()
		w.start()
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.status("web").ContainerStatuses[0].RestartCount; n != 1 {
			t.Errorf("%d restarts, want 1", n)
		}
	})
}

func TestManifestRemovedWhileNoDaemonRanEndsTheSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.stop()
		w.runtimes.killAll()
		delete(w.files, "web.yaml")
		w.start()
		after(time.Minute)
		if w.view("web") != nil || w.runtimes.launched("web") != 1 {
			t.Errorf("still there, or started %d times", w.runtimes.launched("web"))
		}
	})
}

func TestStopHoldsAcrossDaemonRestartUntilStart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		ref := &api.Ref{Name: "web"}
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: ref}); err != nil {
			t.Fatal(err)
		}
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonSandboxStopped, "") // at once
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseStopped)
		w.stop()
		w.start()
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseStopped)
		if err := w.m.Start(t.Context(), &api.StartRequest{Object: ref}); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.status("web").ContainerStatuses[0].RestartCount; n != 0 {
			t.Errorf("%d restarts, want 0: it was asked for", n)
		}
	})
}

func TestRestartKeepsTheDisk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		disk := makeDisk(t, w, "web")
		boot := w.status("web").Runtime.BootID
		if err := w.m.Restart(t.Context(), &api.RestartRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		if w.status("web").Runtime.BootID == boot || !exists(disk) || w.runtimes.launched("web") != 2 {
			t.Errorf("want one further boot on the same disk, have %d", w.runtimes.launched("web")-1)
		}
	})
}

func TestUnresponsivePluginIsEndedOnDelete(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.Unresponsive = true
		w.files["web.yaml"] = sandbox("web")
		w.look()
		after(10 * time.Minute)
		w.remove("web.yaml")
		after(10 * time.Minute)
		if w.view("web") != nil || w.runtimes.process("web") != nil {
			t.Error("it is still there")
		}
	})
}

func TestNextDaemonKeepsWhatIsAppliedOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.stop()
		w.start()
		o := w.m.object(sandboxKey("web"))
		if wanted := o.intent.object.Sandbox; o.record.Sandbox != wanted || o.view.Load().sandbox != wanted {
			t.Error("what the record says is in memory beside what the manifest says, which is the same")
		}
		if w.runtimes.launched("web") != 1 {
			t.Error("another boot")
		}
	})
}
