package reconciler

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
)

func TestBrokenEditKeepsSandboxRunning(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		boot := w.status("web").Runtime.BootID
		w.write("web.yaml", sandbox("web", "imagee: typo"))
		check := func() {
			t.Helper()
			w.wantPhase("web", manifests.PhaseRunning)
			w.wantCondition("web", manifests.ConditionReady, "True", "", "")
			w.wantCondition("web", manifests.ConditionSynced, "False", ReasonInvalidManifest, "web.yaml:11:9: ")
			if w.status("web").Runtime.BootID != boot || w.runtimes.launched("web") != 1 {
				t.Error("another boot")
			}
			w.wantMetric(`vzreconciler_source_errors{source="directory"} 1`)
		}
		check()
		w.wantEvent("web", ReasonInvalidManifest)

		w.stop()
		w.start()
		after(time.Second)
		check()

		w.write("web.yaml", sandbox("web"))
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		w.wantMetric(`vzreconciler_source_errors{source="directory"} 0`)
		if w.runtimes.launched("web") != 1 {
			t.Error("another boot")
		}
	})
}

func TestUnparsableFileKeepsSandboxRunning(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.write("web.yaml", "apiVersion: [\n\t")
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonInvalidManifest, "web.yaml:")
	})
}

func TestBrokenSandboxIsStillRestarted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.write("web.yaml", "{")
		w.runtimes.process("web").Crash("bad luck")
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestNewBrokenManifestIsShownWithItsError(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web", "imagee: typo"))
		w.wantPhase("web", manifests.PhasePending)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonInvalidManifest, "web.yaml:11:9")
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonInvalidManifest, "")
		w.remove("web.yaml")
		if w.view("web") != nil {
			t.Error("it is still shown after its file is gone")
		}
	})
}

func TestVanishedDirectoryDeletesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.missing.Store(true)
		w.look()
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonFileMissing, "no such directory")
		w.stop()
		w.start()
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		w.missing.Store(false)
		w.look()
		after(time.Second)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if w.runtimes.launched("web") != 1 {
			t.Error("another boot")
		}
	})
}

func TestFileRenamedAndBrokenAtOnceKeepsItsSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("old.yaml", sandbox("web"))
		w.write("other.yaml", sandbox("db"))
		delete(w.files, "old.yaml")
		w.write("new.yaml", "apiVersion: [")
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonInvalidManifest, "new.yaml:1")
		// Nor does a change elsewhere make that forgotten.
		w.settling = true
		w.look()
		after(time.Second)
		w.settling = false
		w.look()
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonInvalidManifest, "new.yaml:1")
		// A file that has been broken for a while casts no doubt on others.
		w.remove("other.yaml")
		after(time.Minute)
		if w.view("db") != nil {
			t.Error("an old error keeps a removed sandbox")
		}
		w.write("new.yaml", sandbox("web"))
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if w.runtimes.launched("web") != 1 {
			t.Error("another boot")
		}
		delete(w.files, "new.yaml")
		w.look()
		after(time.Minute)
		if w.view("web") != nil {
			t.Error("it was not removed")
		}
	})
}

func TestFullDiskKeepsSandboxRunningAndSaysSo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		record := w.state.Bundle("default", "web").ObjectFile()
		// A directory in its place fails to be replaced, whoever runs the test.
		if err := errors.Join(os.Remove(record), os.MkdirAll(record+"/x", 0o700)); err != nil {
			t.Fatal(err)
		}
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonDiskError, "object.json")
		if w.runtimes.launched("web") != 1 {
			t.Error("another boot")
		}
		if err := os.RemoveAll(record); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if got := w.status("web").ContainerStatuses[0].Image; got != "example.com/app:2" {
			t.Errorf("image %s", got)
		}
	})
}

func TestDuplicateNameKeepsTheOneApplied(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("z.yaml", sandbox("web"))
		w.write("a.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonDuplicateName, "a.yaml:1:1")
		if w.status("web").ContainerStatuses[0].Image != "example.com/app:1" || w.runtimes.launched("web") != 1 {
			t.Error("the one applied was replaced")
		}
		// Edits of the one in force count.
		w.write("z.yaml", strings.Replace(sandbox("web"), "app:1", "app:3", 1))
		after(time.Minute)
		if got := w.status("web").ContainerStatuses[0].Image; got != "example.com/app:3" {
			t.Errorf("image %s after an edit of the one in force", got)
		}
		w.remove("a.yaml")
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
	})
}

func TestDuplicateNameNeverAppliedStartsNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["a.yaml"], w.files["b.yaml"] = sandbox("web"), sandbox("web")
		w.look()
		after(time.Minute)
		w.wantPhase("web", manifests.PhasePending)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonDuplicateName, "none was applied")
		if w.runtimes.launched("web") != 0 {
			t.Error("it was started")
		}
		w.remove("a.yaml")
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestPodAndSandboxOfOneNameAreDuplicates(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", sandbox("web"))
		w.write("b.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: main, image: example.com/app:1}\n")
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonDuplicateName, "b.yaml")
	})
}

func TestPruneHeldUntilConfirmed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 5 {
			w.files[fmt.Sprintf("f%d.yaml", i)] = sandbox(fmt.Sprintf("s%d", i))
		}
		w.look()
		after(time.Second)
		w.remove("f0.yaml", "f1.yaml", "f2.yaml")
		after(time.Hour)
		for i := range 5 {
			w.wantPhase(fmt.Sprintf("s%d", i), manifests.PhaseRunning)
		}
		w.wantCondition("s0", manifests.ConditionSynced, "False", ReasonPruneHeld, "vzctl prune --confirm")
		w.wantEvent("s0", ReasonPruneHeld)
		w.wantMetric("vzreconciler_prune_held 3")
		st, err := w.m.Status(t.Context())
		if err != nil || len(st.GetPruneHeld()) != 3 {
			t.Fatalf("status: %v, %v", st, err)
		}
		// A change elsewhere that has not settled yet does not let them off.
		w.settling = true
		w.look()
		after(time.Second)
		w.wantCondition("s0", manifests.ConditionSynced, "False", ReasonPruneHeld, "")
		w.wantMetric("vzreconciler_prune_held 3")
		w.settling = false
		w.look()
		// It is held across a restart too.
		w.stop()
		w.start()
		after(time.Hour)
		w.wantPhase("s0", manifests.PhaseRunning)

		resp, err := w.m.ConfirmPrune(t.Context())
		if err != nil || len(resp.GetPruned()) != 3 {
			t.Fatalf("confirm: %v, %v", resp, err)
		}
		after(time.Minute)
		for i := range 5 {
			if gone := w.view(fmt.Sprintf("s%d", i)) == nil; gone != (i < 3) {
				t.Errorf("s%d gone: %v", i, gone)
			}
		}
		w.wantMetric("vzreconciler_prune_held 0")
	})
}

func TestPruneHeldIsOverWhenTheManifestsComeBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := map[string]string{}
		for i := range 4 {
			all[fmt.Sprintf("f%d.yaml", i)] = sandbox(fmt.Sprintf("s%d", i))
		}
		w.files = all
		w.look()
		after(time.Second)
		w.files = map[string]string{}
		w.look()
		after(time.Second)
		w.wantCondition("s0", manifests.ConditionSynced, "False", ReasonPruneHeld, "")
		w.files = all
		w.look()
		after(time.Second)
		w.wantCondition("s0", manifests.ConditionSynced, "True", "", "")
	})
}

func TestUnreadableRecordLeavesTheSandboxAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.stop()
		path := w.state.Bundle("default", "web").ObjectFile()
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.remove("web.yaml")
		after(time.Hour)
		if w.runtimes.process("web") == nil {
			t.Fatal("the plugin process was ended")
		}
		w.wantCondition("web", manifests.ConditionStalled, "True", ReasonRecordUnreadable, "object.json")
	})
}

func TestStateDirectoryInUseIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, err := LockStateDir(w.state)
		if want := fmt.Sprintf("(pid %d)", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want an error with %q", err, want)
		}
	})
}

func TestMissingReferenceIsWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web", "env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]"))
		w.wantPhase("web", manifests.PhasePending)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonReferenceMissing, "ConfigMap default/conf")
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonDependenciesNot, "ConfigMap default/conf")
		w.write("conf.yaml", configMap("conf", "b", "1"))
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonReferenceMissing, "key a of ConfigMap default/conf")
		w.write("conf.yaml", configMap("conf", "a", "1"))
		w.wantPhase("web", manifests.PhaseRunning)
		if w.runtimes.launched("web") != 1 {
			t.Error("started more than once")
		}
	})
}

func TestChangedConfigMapRecreatesOnceAndItsLossDoesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("conf.yaml", configMap("conf", "a", "1"))
		w.write("web.yaml", sandbox("web", "env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]"))
		w.wantPhase("web", manifests.PhaseRunning)
		w.write("conf.yaml", configMap("conf", "a", "2"))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("launched %d times, want 2", n)
		}
		w.remove("conf.yaml")
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("launched %d times after the loss, want 2", n)
		}
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonReferenceMissing, "")
	})
}

func TestSecretIsNowhereInTheStateDirectory(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: hunter2hunter2}\n")
		w.write("web.yaml", sandbox("web", "env: [{name: T, valueFrom: {secretKeyRef: {name: s, key: token}}}]"))
		w.wantPhase("web", manifests.PhaseRunning)
		after(time.Minute)
		wantNowhere(t, string(w.state), "hunter2hunter2")
		for _, e := range w.events.List(events.Filter{}) {
			if strings.Contains(e.Message, "hunter2") {
				t.Errorf("event %v", e)
			}
		}
	})
}

func configMap(name, key, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {%s: %q}\n", name, key, value)
}

func TestRemovalThatIsBeingSettledIsNoWarning(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		delete(w.files, "web.yaml")
		w.settling = true
		w.look()
		after(time.Second)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		w.settling = false
		w.look()
		after(time.Minute)
		if w.view("web") != nil {
			t.Error("it was not removed")
		}
		for _, e := range w.events.List(events.Filter{Name: "web"}) {
			if e.Type == eventWarning {
				t.Errorf("event %s: %s", e.Reason, e.Message)
			}
		}
	})
}

func TestDaemonOnAnotherFolderDeletesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		after(time.Second)
		w.stop()
		w.files = map[string]string{}
		was := w.dir
		w.dir = t.TempDir()
		w.start()
		w.look()
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		w.wantCondition("web", manifests.ConditionSynced, "False", ReasonPruneHeld, was)
		if _, err := w.m.ConfirmPrune(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if w.view("web") != nil {
			t.Error("the sandbox is there after its removal was confirmed")
		}
	})
}
