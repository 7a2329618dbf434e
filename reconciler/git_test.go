package reconciler

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// commit makes all files of the world, from now on, those of a commit.
func (w *world) commit(hash string) {
	w.revision = &manifests.Revision{
		Repository: "https://h/r", Branch: "main", Commit: hash, Author: "Ann <ann@example.com>", Time: metav1.NewTime(time.Unix(0, 0)),
	}
	w.look()
}

func TestTheCommitIsShownOnEveryObject(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["web.yaml"], w.files["conf.yaml"] = sandbox("web"), configMap("conf", "a", "1")
		w.files["data.yaml"], w.files["set.yaml"] = claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"), set("db", "db:1", "replicas: 0")
		w.files["job.yaml"], w.files["cron.yaml"] = job("once", "suspend: true"), strings.Replace(everyMinute, "spec:\n", "spec:\n  suspend: true\n", 1)
		w.commit("one")
		w.wantPhase("web", manifests.PhaseRunning)
		check := func(want string) {
			t.Helper()
			objects, err := w.m.Get(t.Context(), &api.GetRequest{Kind: "all"})
			if err != nil || len(objects) != 6 {
				t.Fatalf("%d objects, %v", len(objects), err)
			}
			for _, raw := range objects {
				var o struct {
					Status struct{ Source manifests.Source }
				}
				if err := json.Unmarshal(raw, &o); err != nil {
					t.Fatal(err)
				}
				if r := o.Status.Source.Revision; r == nil || r.Commit != want || r.Author != "Ann <ann@example.com>" || r.Branch != "main" {
					t.Errorf("revision %+v, want %s, in %s", r, want, raw)
				}
			}
			w.wantMetric(`vzreconciler_source_commit_info{commit="` + want + `",source="directory"} 1`)
		}
		check("one")
		status := w.state.Bundle("default", "web").StatusFile()
		before, err := os.Stat(status)
		if err != nil {
			t.Fatal(err)
		}
		// A commit in which it stands as before is shown, and costs nothing more.
		w.commit("two")
		check("two")
		if after, err := os.Stat(status); err != nil || !os.SameFile(before, after) {
			t.Errorf("the status was written again: %v", err)
		}
		if w.status("web").ObservedGeneration != 1 || w.runtimes.launched("web") != 1 {
			t.Error("another boot")
		}
		w.stop()
		w.start()
		check("two")
	})
}

func TestARefusedCommitIsShownOnEveryObjectAndChangesNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["web.yaml"], w.files["db.yaml"] = sandbox("web"), sandbox("db")
		w.commit("one")
		w.problem = &source.Problem{Reason: source.ReasonCommitRefused, Message: "commit two is not taken: web.yaml:4:9: typo"}
		w.look()
		for _, name := range []string{"web", "db"} {
			w.wantPhase(name, manifests.PhaseRunning)
			w.wantCondition(name, manifests.ConditionReady, "True", "", "")
			w.wantCondition(name, manifests.ConditionSynced, "False", source.ReasonCommitRefused, "web.yaml:4:9")
			w.wantCondition(name, manifests.ConditionStalled, "", "", "")
			for _, e := range w.events.List(events.Filter{Name: name}) {
				if e.Type == eventWarning {
					t.Errorf("%s has an event of its own: %s", name, e.Message)
				}
			}
		}
		w.problem = &source.Problem{Reason: source.ReasonSourceUnreachable, Message: "no route"}
		w.look()
		w.wantCondition("web", manifests.ConditionSynced, "Unknown", source.ReasonSourceUnreachable, "no route")
		st, err := w.m.Status(t.Context())
		if err != nil || st.GetSources()[0].GetMessage() != "no route" || st.GetSources()[0].GetCommit() != "one" {
			t.Errorf("status %v, %v", st.GetSources(), err)
		}
		// It is still looked after meanwhile.
		w.runtimes.process("web").Crash("bad luck")
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		w.problem = nil
		w.look()
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		if w.runtimes.launched("db") != 1 {
			t.Error("another boot")
		}
	})
}

func TestWhatIsInGitIsChangedThere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["web.yaml"] = sandbox("web")
		w.commit("one")
		_, err := w.m.Apply(t.Context(), &api.ApplyRequest{FileName: "x.yaml", Data: []byte(sandbox("web"))})
		if !errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), "commit the change there") {
			t.Errorf("apply: %v", err)
		}
		_, err = w.m.Delete(t.Context(), &api.DeleteRequest{Object: refOf(sandboxKey("web"))})
		if !errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), "remove it there") {
			t.Errorf("delete: %v", err)
		}
		w.wantPhase("web", manifests.PhaseRunning)
	})
}
