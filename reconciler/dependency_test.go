package reconciler

import (
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
)

// dependent is a manifest with spec.dependsOn.
func dependent(manifest, dependsOn string) string {
	return strings.Replace(manifest, "spec:\n", "spec:\n  dependsOn: ["+dependsOn+"]\n", 1)
}

func TestSandboxWaitsForWhatItDependsOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, drivers.ErrRefused)
		w.write("web.yaml", dependent(sandbox("web"), "{name: db}"))
		after(time.Second)
		w.wantPhase("web", manifests.PhasePending)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonWaitingForDependencies, "waits for Sandbox default/db to be Ready (there is none)")
		w.wantCondition("web", manifests.ConditionReconciling, "True", ReasonWaitingForDependencies, "default/db")
		w.wantCondition("web", manifests.ConditionImageReady, "True", "", "")
		if st := w.status("web"); st.ObservedGeneration != 0 || st.LastApplied != nil {
			t.Errorf("nothing is applied yet, but %d, %+v", st.ObservedGeneration, st.LastApplied)
		}

		w.write("db.yaml", sandbox("db", readiness))
		after(7 * time.Second)
		w.wantPhase("db", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonWaitingForDependencies, "(it is Running)")
		answers(w, nil)
		after(7 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		if st := w.status("web"); st.ObservedGeneration != 1 || st.LastApplied.Generation != 1 {
			t.Errorf("generation %d, %+v", st.ObservedGeneration, st.LastApplied)
		}

		// Once it runs, it runs on.
		answers(w, drivers.ErrRefused)
		after(time.Minute)
		w.wantCondition("db", manifests.ConditionReady, "False", "", "")
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		// An edit does not take it down while what it depends on is not there.
		w.write("web.yaml", dependent(sandbox("web", "args: [x]"), "{name: db}"))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionReady, "False", "", "waits for Sandbox default/db")
		if st := w.status("web"); w.runtimes.launched("web") != 1 || st.ObservedGeneration != 1 {
			t.Errorf("launched %d times, generation %d", w.runtimes.launched("web"), st.ObservedGeneration)
		}
		answers(w, nil)
		after(10 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		if st := w.status("web"); st.ObservedGeneration != 2 || st.LastApplied.Class != "recreate" {
			t.Errorf("generation %d, %+v", st.ObservedGeneration, st.LastApplied)
		}
	})
}

func TestDependencyConditions(t *testing.T) {
	for _, tc := range []struct {
		condition, podLines, containerLines string
		met                                 bool
	}{
		{"Started", "", readiness, true},
		{"Started", "", startup, false},
		{"Ready", "", "", true},
		{"Ready", "", readiness, false},
		{"Completed", "", "", false},
		{"Completed", "restartPolicy: Never", "args: [done]", true},
		{"Started", "restartPolicy: Never", "args: [done]", true},
		{"Completed", "restartPolicy: Never", "args: [failed]", false},
	} {
		t.Run(tc.condition+" "+tc.podLines+tc.containerLines, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				answers(w, drivers.ErrRefused)
				db := podLike("db", tc.podLines, tc.containerLines)
				db = strings.Replace(db, "[serve]\n        args: [done]", `["true"]`, 1)
				db = strings.Replace(db, "[serve]\n        args: [failed]", `["false"]`, 1)
				w.files["db.yaml"] = db
				w.write("web.yaml", dependent(sandbox("web"), "{name: db, condition: "+tc.condition+"}"))
				after(8 * time.Second)
				want := manifests.PhasePending
				if tc.met {
					want = manifests.PhaseRunning
				}
				w.wantPhase("web", want)
			})
		})
	}
}

func TestDependenciesOrderTheStartOfAHost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, nil)
		w.files["a.yaml"] = dependent(sandbox("a"), "{name: b}")
		w.files["b.yaml"] = dependent(sandbox("b"), "{name: c}")
		w.files["c.yaml"] = sandbox("c", readiness)
		w.look()
		after(10 * time.Second)
		w.wantCondition("a", manifests.ConditionReady, "True", "", "")
		// The host goes down, and comes up with what the statuses said before.
		w.stop()
		w.runtimes.killAll()
		answers(w, drivers.ErrRefused)
		w.start()
		after(time.Minute)
		w.wantPhase("c", manifests.PhaseRunning)
		w.wantPhase("b", manifests.PhasePending)
		w.wantPhase("a", manifests.PhasePending)
		answers(w, nil)
		after(10 * time.Second)
		for _, name := range []string{"a", "b", "c"} {
			w.wantCondition(name, manifests.ConditionReady, "True", "", "")
		}
	})
}

func TestDependencyCyclesAreRefusedAndDisturbNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["a.yaml"] = dependent(sandbox("a"), "{name: b}")
		w.write("b.yaml", sandbox("b"))
		after(time.Second)
		w.wantCondition("a", manifests.ConditionReady, "True", "", "")
		w.write("b.yaml", dependent(sandbox("b", "args: [x]"), "{name: a}"))
		after(time.Second)
		w.wantCondition("a", manifests.ConditionReady, "True", "", "")
		w.wantCondition("b", manifests.ConditionReady, "True", "", "")
		w.wantCondition("b", manifests.ConditionSynced, "False", ReasonInvalidManifest, "b.yaml:5:15")
		w.wantCondition("b", manifests.ConditionSynced, "False", ReasonInvalidManifest, "b → a → b")
		w.wantMetric(`vzreconciler_source_errors{source="directory"} 2`)
		w.write("a.yaml", sandbox("a"))
		after(time.Second)
		w.wantCondition("b", manifests.ConditionSynced, "True", "", "")
		if w.runtimes.launched("b") != 2 || w.runtimes.launched("a") != 1 {
			t.Errorf("launched %d, %d times", w.runtimes.launched("a"), w.runtimes.launched("b"))
		}
	})
}

func TestDependentsAreDeletedFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.IgnoreSignals = true
		w.files["web.yaml"] = dependent(podLike("web", "terminationGracePeriodSeconds: 20"), "{name: db}")
		w.write("db.yaml", podLike("db", "terminationGracePeriodSeconds: 0"))
		after(5 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		w.remove("web.yaml", "db.yaml")
		after(10 * time.Second)
		w.wantCondition("db", manifests.ConditionReady, "False", ReasonDeleting, "waits for Sandbox default/web to be removed")
		if w.runtimes.process("db") == nil {
			t.Error("it was ended before what depends on it")
		}
		after(20 * time.Second)
		if w.view("web") != nil || w.view("db") != nil {
			t.Error("they are not gone")
		}
		var order []string
		for _, e := range w.events.List(events.Filter{}) {
			if e.Reason == "Deleted" {
				order = append(order, e.Object.Name)
			}
		}
		if strings.Join(order, " ") != "web db" {
			t.Errorf("deleted in the order %v", order)
		}
	})
}

// Edits one by one can leave a cycle among what is applied.
func TestAppliedCycleCanBeDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["a.yaml"] = dependent(sandbox("a"), "{name: b}")
		w.write("b.yaml", sandbox("b"))
		after(time.Second)
		w.files["a.yaml"] += "  broken: ["
		w.write("b.yaml", dependent(sandbox("b"), "{name: a}"))
		after(time.Second)
		w.remove("a.yaml", "b.yaml")
		after(time.Minute)
		if w.view("a") != nil || w.view("b") != nil {
			t.Error("they wait for each other")
		}
	})
}

func TestStalledAfterTheProgressDeadline(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		answers(w, drivers.ErrRefused)
		manifest := func(lines ...string) string {
			return strings.Replace(sandbox("web", lines...), "spec:\n", "spec:\n  progressDeadlineSeconds: 60\n", 1)
		}
		w.write("web.yaml", manifest(readiness))
		after(55 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		after(10 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonProgressDeadlineExceeded, "not Ready within 1m0s, tried on: container main is not ready")
		w.wantCondition("web", manifests.ConditionReconciling, "", "", "")
		// So it is still after a restart of the daemon.
		w.stop()
		w.start()
		after(2 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonProgressDeadlineExceeded, "")
		// An edit gives it time anew.
		w.write("web.yaml", manifest(readiness, "args: [x]"))
		after(30 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		// The time goes on across a restart of the daemon.
		w.stop()
		w.start()
		after(40 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonProgressDeadlineExceeded, "")
		// It is tried on, and gets there.
		answers(w, nil)
		after(10 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		// What is held stopped is not late.
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		answers(w, drivers.ErrRefused)
		if err := w.m.Start(t.Context(), &api.StartRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		after(50 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		after(15 * time.Second)
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonProgressDeadlineExceeded, "")
	})
}

func TestMissingDependencyStallsInTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", dependent(sandbox("web"), "{name: db}"))
		after(9 * time.Minute)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		after(2 * time.Minute)
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonProgressDeadlineExceeded, "waits for Sandbox default/db")
		if st := w.status("web"); st.ObservedGeneration != 1 {
			t.Errorf("what is stalled is generation %d", st.ObservedGeneration)
		}
		w.write("db.yaml", sandbox("db"))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
	})
}
