package reconciler

import (
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func limited(podLines, memory string) string {
	return strings.Replace(podLike("web", podLines, "resources: {limits: {memory: "+memory+"}}"), "  podTemplate:", "  vm: {memory: 1Gi}\n  podTemplate:", 1)
}

func (w *world) memoryLimit(name string) int64 {
	w.t.Helper()
	return w.runtimes.process(name).Live().Limits[0].MemoryBytes
}

func TestLimitsChangeWhileItRuns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", limited("", "64Mi"))
		after(time.Second)
		pid := w.runtimes.process("web").pid
		w.write("web.yaml", limited("dnsConfig: {nameservers: [10.0.0.1]}\nhostAliases: [{ip: 10.0.0.2, hostnames: [db]}]", "128Mi"))
		after(time.Second)
		live := w.runtimes.process("web").Live()
		if live.Limits[0].MemoryBytes != 128<<20 || live.DNS.Nameservers[0] != "10.0.0.1" || live.HostAliases[0].Hostnames[0] != "db" {
			t.Errorf("it has %+v", live)
		}
		st := w.status("web")
		if w.runtimes.process("web").pid != pid || st.ContainerStatuses[0].RestartCount != 0 {
			t.Error("it was disturbed")
		}
		if st.ObservedGeneration != 2 || st.LastApplied.Class != "live" || len(st.LastApplied.Fields) != 3 {
			t.Errorf("generation %d, applied %+v", st.ObservedGeneration, st.LastApplied)
		}
		w.wantEvent("web", "Applied")
		// It is so in the next VM too, and the next daemon has nothing to do.
		w.runtimes.process("web").Crash("died")
		after(10 * time.Second)
		if got := w.memoryLimit("web"); got != 128<<20 {
			t.Errorf("after a crash its limit is %d", got)
		}
		w.stop()
		w.start()
		after(time.Minute)
		if n := countEventsOf(w, "web", "Applied"); n != 1 {
			t.Errorf("applied %d times", n)
		}
	})
}

func TestUpdateThatFailsIsNotSaidToBeApplied(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", limited("", "128Mi"))
		after(time.Second)
		w.runtimes.process("web").SetFaults(fake.Faults{UpdateError: "it uses more"})
		w.write("web.yaml", limited("", "64Mi"))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonProgressing, "it uses more")
		w.wantCondition("web", manifests.ConditionReconciling, "True", "", "it uses more")
		if st := w.status("web"); st.ObservedGeneration != 1 || st.LastApplied.Generation != 1 {
			t.Errorf("generation %d, applied %+v", st.ObservedGeneration, st.LastApplied)
		}
		w.runtimes.process("web").SetFaults(fake.Faults{})
		after(5 * time.Minute)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if st := w.status("web"); st.ObservedGeneration != 2 || w.memoryLimit("web") != 64<<20 {
			t.Errorf("generation %d", st.ObservedGeneration)
		}
	})
}

func TestUpdateWaitsForAPausedSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", limited("", "128Mi"))
		after(time.Second)
		if err := w.m.Pause(t.Context(), &api.PauseRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		w.write("web.yaml", limited("", "64Mi"))
		after(time.Hour)
		w.wantPhase("web", manifests.PhasePaused)
		w.wantCondition("web", manifests.ConditionStalled, "", "", "")
		if st := w.status("web"); st.ObservedGeneration != 1 {
			t.Errorf("generation %d", st.ObservedGeneration)
		}
		if err := w.m.Resume(t.Context(), &api.ResumeRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if st := w.status("web"); st.ObservedGeneration != 2 || w.memoryLimit("web") != 64<<20 {
			t.Errorf("generation %d", st.ObservedGeneration)
		}
	})
}

func TestRuntimeThatCannotUpdateIsMadeAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.noUpdate = true
		w.write("web.yaml", limited("", "64Mi"))
		after(time.Second)
		w.write("web.yaml", limited("", "128Mi"))
		after(10 * time.Second)
		w.wantCondition("web", manifests.ConditionReady, "True", "", "")
		w.wantEvent("web", "Recreating")
		if w.runtimes.launched("web") != 2 || w.memoryLimit("web") != 128<<20 {
			t.Errorf("launched %d times, limit %d", w.runtimes.launched("web"), w.memoryLimit("web"))
		}
		if st := w.status("web"); st.ObservedGeneration != 2 {
			t.Errorf("generation %d", st.ObservedGeneration)
		}
	})
}

// A VM that an earlier version has built is not made anew, nor left out.
func TestRecordsWithoutLiveHashAreGoneOnWith(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", limited("", "64Mi"))
		after(time.Second)
		w.stop()
		path := w.state.Bundle("default", "web").ObjectFile()
		r, err := loadRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		r.Built.LiveHash = ""
		if err := r.save(path); err != nil {
			t.Fatal(err)
		}
		w.start()
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		w.write("web.yaml", limited("", "128Mi"))
		after(time.Minute)
		if w.runtimes.launched("web") != 1 || w.memoryLimit("web") != 128<<20 {
			t.Errorf("launched %d times, limit %d", w.runtimes.launched("web"), w.memoryLimit("web"))
		}
	})
}
