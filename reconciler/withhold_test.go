package reconciler

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// kept is a manifest whose removal leaves its sandbox.
func kept(name string) string {
	return strings.Replace(sandbox(name), "{name: "+name+"}", "{name: "+name+", annotations: {vzreconciler.dev/prune: disabled}}", 1)
}

func suspend(t *testing.T, w *world, name string) {
	t.Helper()
	after(time.Second) // or the last look would be as good as the next
	if err := w.m.SuspendReconciling(t.Context(), &api.SuspendReconcilingRequest{Object: objectRef(name)}); err != nil {
		t.Fatal(err)
	}
}

func resume(t *testing.T, w *world, name string) {
	t.Helper()
	after(time.Second)
	if err := w.m.ResumeReconciling(t.Context(), &api.ResumeReconcilingRequest{Object: objectRef(name)}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// objectRef is nil, which means the daemon as a whole, for no name.
func objectRef(name string) *api.Ref {
	if name == "" {
		return nil
	}
	return &api.Ref{Kind: "sandbox", Name: name}
}

func TestPruneDisabledKeepsTheSandboxUntilItIsDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		path := w.dir + "/web.yaml"
		writeFile(t, path, kept("web"))
		w.look()
		w.wantPhase("web", manifests.PhaseRunning)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w.look()
		stays := func() {
			t.Helper()
			after(time.Hour)
			w.wantPhase("web", manifests.PhaseRunning)
			w.wantCondition("web", manifests.ConditionSynced, "False", ReasonPruneDisabled, `"vzctl delete sandbox web"`)
			w.wantMetric("vzreconciler_prune_held 0")
		}
		stays()
		w.wantEvent("web", ReasonPruneDisabled)
		w.stop()
		w.start()
		stays()
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("launched %d times, want once", n)
		}
		if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: objectRef("web")}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if w.view("web") != nil {
			t.Error("it is there after its deletion")
		}
	})
}

func TestPruneDisabledIsOverWithTheAnnotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", kept("web"))
		w.remove("web.yaml")
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonPruneDisabled, "")
		w.write("web.yaml", sandbox("web"))
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		w.remove("web.yaml")
		after(time.Minute)
		if w.view("web") != nil {
			t.Error("it is there without the annotation")
		}
	})
}

func TestSandboxesThatStayDoNotHoldThePruneOfOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 6 {
			name := fmt.Sprintf("s%d", i)
			w.files[name+".yaml"] = kept(name)
		}
		w.files["s5.yaml"] = sandbox("s5")
		w.look()
		after(time.Second)
		w.files = map[string]string{}
		w.look()
		after(time.Minute)
		if w.view("s5") != nil {
			t.Error("s5 is there, as if too many went at once")
		}
		w.wantPhase("s0", manifests.PhaseRunning)
	})
}

func TestSuspendedSandboxIsNotChangedButLookedAfter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["conf.yaml"] = configMap("conf", "a", "1")
		w.files["web.yaml"] = sandbox("web", "env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]")
		w.files["other.yaml"] = sandbox("other")
		w.look()
		w.wantPhase("web", manifests.PhaseRunning)
		suspend(t, w, "web")
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonSuspended, `"vzctl reconcile resume sandbox web"`) // at once
		w.wantMetric(`vzreconciler_sandbox_suspended{name="web",namespace="default"} 1`)

		w.write("web.yaml", strings.Replace(w.files["web.yaml"], "app:1", "app:2", 1))
		w.write("conf.yaml", configMap("conf", "a", "2"))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonSuspended, "has changed: ")
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		w.wantCondition("web", manifests.ConditionReconciling, "", "", "")
		w.stop()
		w.start()
		w.remove("web.yaml")
		after(time.Hour)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonSuspended, "and is gone")
		if n := w.runtimes.launched("web"); n != 1 {
			t.Fatalf("launched %d times, want once", n)
		}
		// What runs is looked after, and others are reconciled.
		w.runtimes.process("web").kill()
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.remove("other.yaml")
		after(time.Minute)
		if w.view("other") != nil {
			t.Error("another sandbox is not reconciled")
		}

		w.write("web.yaml", sandbox("web"))
		resume(t, w, "web")
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if w.view("web").generation != 2 {
			t.Errorf("generation %d, want 2", w.view("web").generation)
		}
	})
}

func TestSuspendedSandboxCanBeDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		writeFile(t, w.dir+"/web.yaml", sandbox("web"))
		w.look()
		suspend(t, w, "web")
		if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: objectRef("web")}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if w.view("web") != nil {
			t.Error("it is still there")
		}
	})
}

func TestSuspendedDaemonFollowsNothingAcrossRestarts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["conf.yaml"] = configMap("conf", "a", "1")
		w.files["web.yaml"] = sandbox("web", "env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]")
		w.files["old.yaml"] = sandbox("old")
		w.look()
		suspend(t, w, "")
		w.wantMetric("vzreconciler_suspended 1")
		w.files = map[string]string{
			"conf.yaml": configMap("conf", "a", "2"), "new.yaml": sandbox("new"),
			"web.yaml": strings.Replace(w.files["web.yaml"], "app:1", "app:2", 1),
		}
		w.look()
		unchanged := func() {
			t.Helper()
			after(time.Hour)
			for _, name := range []string{"web", "old"} {
				w.wantPhase(name, manifests.PhaseRunning)
				w.wantCondition(name, manifests.ConditionSynced, "False", ReasonSuspended, `"vzctl reconcile resume --all"`)
				if n := w.runtimes.launched(name); n != 1 {
					t.Fatalf("%s was launched %d times, want once", name, n)
				}
			}
			if w.view("new") != nil {
				t.Fatal("a new sandbox was begun")
			}
			st, err := w.m.Status(t.Context())
			if err != nil || st.GetSuspendedSince() == nil {
				t.Fatalf("status %v, %v", st, err)
			}
		}
		unchanged()
		w.stop()
		w.start()
		unchanged()
		w.wantMetric("vzreconciler_suspended 1")

		resume(t, w, "")
		after(time.Minute)
		w.wantPhase("new", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if w.view("old") != nil || w.runtimes.launched("web") != 2 {
			t.Errorf("old is there: %v, web was launched %d times, want twice", w.view("old") != nil, w.runtimes.launched("web"))
		}
		w.wantMetric("vzreconciler_suspended 0")
	})
}

// A daemon that is suspended and restarted has what ConfigMaps hold from their
// manifests, as long as these are what they were.
func TestSuspendedDaemonKnowsUnchangedConfigMapsAfterARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["conf.yaml"] = configMap("conf", "a", "1")
		w.files["web.yaml"] = sandbox("web", "env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]")
		w.look()
		suspend(t, w, "")
		w.stop()
		w.start()
		w.runtimes.process("web").kill()
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestReconcileNowCutsABackOffShort(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.images.fail("example.com/app:1", errors.New("registry is down"))
		w.write("web.yaml", sandbox("web"))
		after(5 * time.Minute)
		w.images.fail("example.com/app:1", nil)
		if err := w.m.ReconcileNow(t.Context(), &api.ReconcileNowRequest{Object: objectRef("web")}); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		if err := w.m.ReconcileNow(t.Context(), &api.ReconcileNowRequest{}); err != nil {
			t.Fatal(err)
		}
		for _, ref := range []*api.Ref{{Kind: "sandbox", Name: "nosuch"}, {Kind: "configmap", Name: "x"}} {
			err := w.m.ReconcileNow(t.Context(), &api.ReconcileNowRequest{Object: ref})
			if !errors.Is(err, drivers.ErrNotFound) && !errors.Is(err, drivers.ErrInvalidArgument) {
				t.Errorf("%v: %v", ref, err)
			}
		}
	})
}
