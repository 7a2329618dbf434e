package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
)

const (
	readiness = "readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 5, failureThreshold: 2}"
	liveness  = "livenessProbe: {exec: {command: [check]}, periodSeconds: 5, failureThreshold: 3}"
	startup   = "startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 10}"
)

func answers(w *world, err error) {
	w.runtimes.setAnswer(func(context.Context, string, string) error { return err })
}

func (w *world) containerStatus(name string) corev1.ContainerStatus {
	w.t.Helper()
	return w.status(name).ContainerStatuses[0]
}

func TestReadinessProbeDecidesOnReady(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, drivers.ErrRefused)
		w.write("web.yaml", sandbox("web", readiness))
		after(2 * time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonContainersNotReady, "container main is not ready: readiness probe failed: port 80: connection refused")
		w.wantCondition("web", manifests.ConditionReconciling, "True", "", "port 80: connection refused")
		w.wantEvent("web", ReasonUnhealthy)
		if cs := w.containerStatus("web"); cs.Ready || !*cs.Started {
			t.Errorf("ready %v, started %v", cs.Ready, *cs.Started)
		}
		answers(w, nil)
		after(5 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		answers(w, drivers.ErrRefused)
		after(5 * time.Second) // one failure of two
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		after(5 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonContainersNotReady, "")
		if cs := w.containerStatus("web"); cs.RestartCount != 0 {
			t.Error("a readiness probe restarted the container")
		}
		w.wantMetric(`vzreconciler_probe_total{probe_type="readiness",result="successful"} 1`)
		w.wantMetric(`vzreconciler_probe_total{probe_type="readiness",result="failed"} 3`)
	})
}

func TestContainerThatFailsItsLivenessProbeIsRestarted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, nil)
		w.write("web.yaml", sandbox("web", liveness))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		answers(w, errors.New("stuck\nhere"))
		after(10 * time.Second) // two of three
		if cs := w.containerStatus("web"); cs.RestartCount != 0 || !cs.Ready {
			t.Errorf("after two failures: %+v", cs)
		}
		after(5 * time.Second)
		answers(w, nil)
		after(5 * time.Second)
		cs := w.containerStatus("web")
		last := cs.LastTerminationState.Terminated
		if cs.RestartCount != 1 || !cs.Ready || last == nil {
			t.Fatalf("%+v", cs)
		}
		if last.ExitCode != 128+signalTerm || last.Message != "liveness probe failed: exit code 1" {
			t.Errorf("it ended with %+v", last)
		}
		w.wantEvent("web", ReasonKilling)
		if w.runtimes.launched("web") != 1 {
			t.Error("the VM was started again")
		}
		found := false
		for _, e := range w.events.List(events.Filter{Name: "web"}) {
			found = found || e.Message == "container main: liveness probe failed: exit code 1: stuck here"
		}
		if !found {
			t.Errorf("no event with the output: %v", w.events.List(events.Filter{Name: "web"}))
		}
	})
}

func TestUnhealthyContainerIsKilledAfterTheProbesGracePeriod(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.IgnoreSignals = true
		answers(w, errors.New("stuck"))
		w.write("web.yaml", sandbox("web", "livenessProbe: {exec: {command: [check]}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 60}"))
		after(30 * time.Second)
		if cs := w.containerStatus("web"); cs.Ready || cs.State.Running == nil {
			t.Errorf("while it is given time: %+v", cs)
		}
		after(33 * time.Second)
		if last := w.containerStatus("web").LastTerminationState.Terminated; last == nil || last.ExitCode != killedCode {
			t.Errorf("it ended with %+v", last)
		}
	})
}

func TestRestartPolicyHasTheLastWordOnUnhealthyContainers(t *testing.T) {
	for policy, want := range map[string]manifests.Phase{
		"Never": manifests.PhaseFailed, "OnFailure": manifests.PhaseRunning, "Always": manifests.PhaseRunning,
	} {
		t.Run(policy, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				answers(w, errors.New("stuck"))
				w.write("web.yaml", podLike("web", "restartPolicy: "+policy, liveness))
				after(time.Minute)
				w.wantPhase("web", want)
				if got := w.containerStatus("web").RestartCount > 0; got != (want == manifests.PhaseRunning) {
					t.Errorf("restarted: %v", got)
				}
			})
		})
	}
}

func TestUnhealthyThatEndsWithZeroIsAFailureForItsPolicy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, errors.New("stuck"))
		w.write("web.yaml", strings.Replace(podLike("web", "restartPolicy: OnFailure", liveness), "[serve]", `[sh, -c, "trap 'exit 0' TERM; sleep 1000000"]`, 1))
		after(20 * time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		cs := w.containerStatus("web")
		if last := cs.LastTerminationState.Terminated; last == nil || last.ExitCode != 0 || cs.RestartCount != 1 {
			t.Errorf("%+v", cs)
		}
	})
}

func TestStartupProbeHoldsTheOthersBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var liveAsked atomic.Int32
		var up atomic.Bool
		w.runtimes.setAnswer(func(_ context.Context, _, by string) error {
			switch {
			case by == "exec":
				liveAsked.Add(1)
				return nil
			case !up.Load():
				return drivers.ErrRefused
			}
			return nil
		})
		w.write("web.yaml", sandbox("web", startup, liveness, readiness))
		after(8 * time.Second)
		if cs := w.containerStatus("web"); *cs.Started || cs.Ready || liveAsked.Load() != 0 {
			t.Errorf("started %v, ready %v, asked for its life %d times", *cs.Started, cs.Ready, liveAsked.Load())
		}
		up.Store(true)
		after(2 * time.Second)
		if cs := w.containerStatus("web"); !*cs.Started || !cs.Ready || liveAsked.Load() == 0 {
			t.Errorf("started %v, ready %v, asked for its life %d times", *cs.Started, cs.Ready, liveAsked.Load())
		}
	})
}

func TestContainerThatNeverStartsUpIsRestarted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, drivers.ErrRefused)
		w.write("web.yaml", sandbox("web", startup, liveness))
		after(15 * time.Second)
		cs := w.containerStatus("web")
		if cs.RestartCount != 1 || *cs.Started {
			t.Errorf("%d restarts, started %v", cs.RestartCount, *cs.Started)
		}
		if last := cs.LastTerminationState.Terminated; last == nil || !strings.HasPrefix(last.Message, "startup probe failed") {
			t.Errorf("last %+v", last)
		}
	})
}

func TestSlowAnswersAreFailures(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.setAnswer(func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		})
		w.write("web.yaml", sandbox("web", readiness, liveness))
		after(5 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonContainersNotReady, "no answer within 1s")
		after(15 * time.Second)
		if n := w.containerStatus("web").RestartCount; n != 1 {
			t.Errorf("%d restarts", n)
		}
	})
}

func TestReadyOutlivesTheDaemon(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, nil)
		w.write("web.yaml", sandbox("web", readiness, startup))
		w.write("down.yaml", sandbox("down", readiness, startup))
		after(10 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		w.runtimes.setAnswer(func(_ context.Context, name, _ string) error {
			if name == "down" {
				return drivers.ErrRefused
			}
			return nil
		})
		after(15 * time.Second)
		w.wantCondition("down", manifests.ConditionReady, "False", "", "")
		w.stop()
		w.start()
		for range 12 {
			w.wantCondition("web", manifests.ConditionReady, "True", "", "")
			w.wantCondition("down", manifests.ConditionReady, "False", "", "")
			after(time.Second)
		}
		if n := countEventsOf(w, "web", "Ready"); n != 1 {
			t.Errorf("it became Ready %d times", n)
		}
		before := w.runtimes.probes("web")
		after(5 * time.Second)
		if w.runtimes.probes("web") == before {
			t.Error("it is not asked any more")
		}
	})
}

func countEventsOf(w *world, name, reason string) int {
	n := 0
	for _, e := range w.events.List(events.Filter{Name: name}) {
		if e.Reason == reason {
			n += int(e.Count)
		}
	}
	return n
}

func TestPausedSandboxIsNotAsked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, nil)
		w.write("web.yaml", sandbox("web", readiness, liveness))
		after(10 * time.Second)
		if err := w.m.Pause(t.Context(), &api.PauseRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		answers(w, errors.New("it stands still"))
		asked := w.runtimes.probes("web")
		after(time.Hour)
		w.wantPhase("web", manifests.PhasePaused)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonSandboxPaused, "")
		if n := w.runtimes.probes("web") - asked; n != 0 {
			t.Errorf("asked %d times while paused", n)
		}
		answers(w, nil)
		if err := w.m.Resume(t.Context(), &api.ResumeRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		after(time.Minute)
		if n := w.containerStatus("web").RestartCount; n != 0 {
			t.Errorf("%d restarts", n)
		}
	})
}

func TestProbesChangeLive(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, nil)
		w.write("web.yaml", sandbox("web", readiness))
		after(5 * time.Second)
		answers(w, drivers.ErrRefused)
		w.write("web.yaml", sandbox("web", strings.Replace(readiness, "periodSeconds: 5", "periodSeconds: 1", 1)))
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		after(3 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonContainersNotReady, "")
		w.write("web.yaml", sandbox("web"))
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		asked := w.runtimes.probes("web")
		after(time.Minute)
		if w.runtimes.probes("web") != asked || w.runtimes.launched("web") != 1 {
			t.Errorf("asked %d times, launched %d times", w.runtimes.probes("web")-asked, w.runtimes.launched("web"))
		}
		if a := w.status("web").LastApplied; a == nil || a.Generation != 3 || a.Class != "live" ||
			a.Fields[0] != "spec.podTemplate.spec.containers[main].readinessProbe" {
			t.Errorf("applied %+v", a)
		}
	})
}

func TestNamedPortsFollowThePorts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		manifest := func(port int) string {
			return sandbox("web", "readinessProbe: {tcpSocket: {port: www}, periodSeconds: 1, failureThreshold: 1}", fmt.Sprintf("ports: [{name: www, containerPort: %d}]", port))
		}
		w.write("web.yaml", strings.Replace(manifest(80), "[serve]", `[sh, -c, "nc -ll -p 81 -e cat"]`, 1))
		after(3 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonContainersNotReady, "port 80")
		w.write("web.yaml", strings.Replace(manifest(81), "[serve]", `[sh, -c, "nc -ll -p 81 -e cat"]`, 1))
		after(3 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
	})
}

func TestSecretsOfProbesAreNotShown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, errors.New("the password is hunter2"))
		w.write("web.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: hunter2}\n---\n"+
			sandbox("web", liveness, "env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: token}}}]"))
		after(time.Minute)
		w.wantEvent("web", ReasonKilling)
		for _, e := range w.events.List(events.Filter{Name: "web"}) {
			if strings.Contains(e.Message, "hunter2") {
				t.Errorf("event %q", e.Message)
			}
		}
		w.stop()
		wantNowhere(t, string(w.state), "hunter2")
		w.start()
	})
}

func TestStopDoesNotWaitForAnUnhealthyContainer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.IgnoreSignals = true
		answers(w, errors.New("stuck"))
		w.write("web.yaml", podLike("web", "terminationGracePeriodSeconds: 3600", liveness))
		after(30 * time.Second)
		w.wantEvent("web", ReasonKilling)
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: &api.Ref{Name: "web"}, GracePeriod: durationpb.New(time.Second)}); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		w.wantPhase("web", manifests.PhaseStopped)
	})
}

func TestManySandboxesAreNotAskedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, nil)
		const n = 50
		for i := range n {
			name := fmt.Sprintf("s%02d", i)
			w.files[name+".yaml"] = sandbox(name, readiness)
		}
		w.look()
		after(30 * time.Second)
		w.stop()
		var mu sync.Mutex
		at := map[time.Time]int{}
		w.runtimes.setAnswer(func(context.Context, string, string) error {
			mu.Lock()
			defer mu.Unlock()
			at[time.Now().Truncate(100*time.Millisecond)]++
			return nil
		})
		w.start()
		after(6 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		for when, times := range at {
			if times > n/4 {
				t.Errorf("%d of %d asked at %s", times, n, when)
			}
		}
		if len(at) < 5 {
			t.Errorf("all asked within %d tenths of a second", len(at))
		}
	})
}

func TestProbeThatCannotBeAskedCountsNeitherWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web", "livenessProbe: {exec: {command: [nosuch]}, periodSeconds: 1, failureThreshold: 1}"))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		if n := w.containerStatus("web").RestartCount; n != 0 {
			t.Errorf("%d restarts", n)
		}
		told := slices.ContainsFunc(w.events.List(events.Filter{Name: "web"}), func(e events.Event) bool {
			return strings.HasPrefix(e.Message, "container main: liveness probe: exec: the program could not be run: ") && strings.Contains(e.Message, "nosuch")
		})
		if !told {
			t.Errorf("no event tells why: %v", w.events.List(events.Filter{Name: "web"}))
		}
	})
}
