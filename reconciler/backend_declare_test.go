package reconciler

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/diff"
)

// diff sums up what Diff says: "update Sandbox/web recreate".
func (w *world) diff(prune bool, files ...api.File) []string {
	w.t.Helper()
	raws, err := w.m.Diff(w.t.Context(), files, prune)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, raw := range raws {
		var o diff.Object
		if err := json.Unmarshal(raw, &o); err != nil {
			w.t.Fatal(err)
		}
		line := string(o.Action) + " " + o.Kind + "/" + o.Name
		if o.Action == diff.Update {
			line += " " + o.Class.String()
		}
		for _, note := range o.Notes {
			line += "; " + note
		}
		out = append(out, line)
	}
	return out
}

func TestDiffIsWithWhatIsApplied(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["web.yaml"], w.files["old.yaml"] = sandbox("web"), kept("old")
		w.files["s.yaml"] = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: sesame}\n"
		w.look()
		same := []api.File{{Name: "web.yaml", Data: []byte(w.files["web.yaml"])}, {Name: "s.yaml", Data: []byte(w.files["s.yaml"])}}
		edited := []api.File{
			{Name: "web.yaml", Data: []byte(strings.Replace(w.files["web.yaml"], "app:1", "app:2", 1))},
			{Name: "sub/s.yaml", Data: []byte(strings.Replace(w.files["s.yaml"], "sesame", "open", 1))},
			{Name: "new.yaml", Data: []byte(sandbox("new"))},
		}
		// A broken edit is not what runs.
		w.write("web.yaml", sandbox("web", "imagee: x"))
		want := func(got []string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		want(w.diff(false, same...))
		want(w.diff(true, same...), "delete Sandbox/old; it stays, for it says vzreconciler.dev/prune: disabled")
		want(w.diff(false, edited...), "create Sandbox/new", "update Sandbox/web recreate", "update Secret/s live")
		w.remove("web.yaml")
		w.write("web.yaml", sandbox("web"))
		suspend(t, w, "web")
		want(w.diff(false, edited[0]), `update Sandbox/web recreate; its reconciling is suspended: nothing happens until "vzctl reconcile resume sandbox web"`)

		for name, files := range map[string][]api.File{
			"a broken one":   {{Name: "x.yaml", Data: []byte(sandbox("web", "imagee: x"))}},
			"a twin":         {edited[0], {Name: "y.yaml", Data: edited[0].Data}},
			"a path outside": {{Name: "../x.yaml", Data: edited[0].Data}},
		} {
			if _, err := w.m.Diff(t.Context(), files, false); !errors.Is(err, drivers.ErrInvalidArgument) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestPlanSaysWhatComesNextAndWhatItWaitsFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		plan := func(name string) (next string, p *api.PlanResponse) {
			t.Helper()
			p, err := w.m.Plan(t.Context(), &api.PlanRequest{Object: objectRef(name)})
			if err != nil {
				t.Fatal(err)
			}
			var verbs []string
			for _, s := range p.GetNext() {
				if s.GetDescription() == "" {
					t.Errorf("%s has no description", s.GetVerb())
				}
				verbs = append(verbs, s.GetVerb())
			}
			return strings.Join(verbs, " "), p
		}
		w.runtimes.faults.BootDelay = duration(time.Second)
		w.images.fail("example.com/app:1", errors.New("registry is down"))
		w.write("web.yaml", sandbox("web"))
		next, p := plan("web")
		if next != "Prepare Launch Bootstrap StartContainer" || p.GetGoal() != "Run" || !strings.Contains(strings.Join(p.GetWaits(), "\n"), "registry is down") ||
			!strings.Contains(strings.Join(p.GetWaits(), "\n"), "back-off until") {
			t.Errorf("%s: %v", next, p)
		}
		w.images.fail("example.com/app:1", nil)
		after(time.Minute)
		if next, p := plan("web"); next != "" || len(p.GetWaits()) > 0 || p.GetCurrent() != nil {
			t.Errorf("of one that runs: %s: %v", next, p)
		}
		w.files["web.yaml"] = strings.Replace(sandbox("web"), "app:1", "app:2", 1)
		w.look()
		next, p = plan("web")
		if p.GetCurrent().GetVerb() != "Bootstrap" || next != "StartContainer" {
			t.Errorf("of one that boots: %s: %v", next, p)
		}
		w.write("bad.yaml", sandbox("bad", "imagee: x"))
		if _, p := plan("bad"); p.GetGoal() != "Hold" || !strings.Contains(strings.Join(p.GetWaits(), ""), "imagee") {
			t.Errorf("of one that is broken: %v", p)
		}
	})
}

func TestEveryVerbHasADescription(t *testing.T) {
	for _, v := range []Verb{
		ActReattach, ActPrepare, ActLaunch, ActBootstrap, ActTakeOver, ActStart, ActPause, ActResume,
		ActStop, ActShutdown, ActCleanUp, ActRemoveDisk, ActRemove,
	} {
		if v.describe() == "" {
			t.Errorf("%s has none", v)
		}
	}
}

func TestDocumentIsReplacedWhereItIs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		path := filepath.Join(w.dir, "all.yaml")
		before, after := "# about a\n"+configMap("a", "k", "1"), "---\n"+configMap("b", "k", "2")+"# the end\n"
		doc := sandbox("web") + "# about web\n"
		writeFile(t, path, before+"---\n"+doc+after)
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		w.look()
		read, err := w.m.ReadDocument(t.Context(), &api.ReadDocumentRequest{Object: objectRef("web")})
		if err != nil || read.GetFile() != path || string(read.GetData()) != doc {
			t.Fatalf("read %v, %v", read, err)
		}
		replace := func(data, version string) error {
			_, err := w.m.ReplaceDocument(t.Context(), &api.ReplaceDocumentRequest{Object: objectRef("web"), Data: []byte(data), Version: version})
			synctest.Wait()
			return err
		}
		edited := strings.Replace(doc, "app:1", "app:2", 1)
		for name, test := range map[string]struct {
			data, version string
			kind          error
		}{
			"an error":       {strings.Replace(doc, "image:", "imagee:", 1), read.GetVersion(), drivers.ErrInvalidArgument},
			"another name":   {sandbox("db"), read.GetVersion(), drivers.ErrInvalidArgument},
			"nothing":        {"", read.GetVersion(), drivers.ErrInvalidArgument},
			"two documents":  {doc + "---\n" + sandbox("db"), read.GetVersion(), drivers.ErrInvalidArgument},
			"a changed file": {edited, "other", drivers.ErrInvalidState},
		} {
			if err := replace(test.data, test.version); !errors.Is(err, test.kind) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := replace(edited, read.GetVersion()); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != before+"---\n"+edited+after {
			t.Errorf("the file is now %q, %v", data, err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		if image := w.m.lookup(sandboxKey("web")).sandbox.Spec.PodTemplate.Spec.Containers[0].Image; image != "example.com/app:2" {
			t.Errorf("applied: %s", image)
		}
	})
}

func TestDocumentOfAnUnwatchedFolderIsNotEdited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.m.opts.ManifestDirs = []string{"/elsewhere"}
		_, err := w.m.ReadDocument(t.Context(), &api.ReadDocumentRequest{Object: objectRef("web")})
		if !errors.Is(err, drivers.ErrInvalidState) || !strings.Contains(err.Error(), "commit") {
			t.Errorf("got %v", err)
		}
	})
}

func TestGetByFields(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["a.yaml"], w.files["b.yaml"], w.files["c.yaml"] = sandbox("web"), pod, configMap("conf", "a", "1")
		w.look()
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: objectRef("web")}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		for selector, want := range map[string]string{
			"status.phase=Running":                            "Pod/pod",
			"status.phase!=Running,kind!=ConfigMap":           "Sandbox/web",
			"metadata.name=web":                               "Sandbox/web",
			"metadata.namespace=other":                        "",
			"spec.restartPolicy=Always":                       "Pod/pod Sandbox/web",
			"spec.operatingMode=Running,status.phase=Stopped": "Sandbox/web",
			"status.runtime.name=fake,kind=Pod":               "Pod/pod",
		} {
			if names := w.get(&api.GetRequest{Kind: "all", FieldSelector: selector}); strings.Join(names, " ") != want {
				t.Errorf("%s: %v, want %s", selector, names, want)
			}
		}
		for _, bad := range []string{"spec.nope=1", "x"} {
			if _, err := w.m.Get(t.Context(), &api.GetRequest{FieldSelector: bad}); !errors.Is(err, drivers.ErrInvalidArgument) {
				t.Errorf("%s: %v", bad, err)
			}
		}
	})
}

func TestEventsOfOneType(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.write("web.yaml", sandbox("web", "imagee: x"))
		count := map[string]int{}
		send := func(e *api.Event) error { count[e.GetType()]++; return nil }
		if err := w.m.Events(t.Context(), &api.EventsRequest{Types: []string{"Warning"}}, send); err != nil {
			t.Fatal(err)
		}
		if count["Warning"] == 0 || count["Normal"] > 0 {
			t.Errorf("events: %v", count)
		}
		if err := w.m.Events(t.Context(), &api.EventsRequest{Types: []string{"warning"}}, send); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("an unknown type: %v", err)
		}
	})
}

func TestRemovalThatFailsIsTriedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.runtimes.failCleanUp(errors.New("the process does not die"))
		w.runtimes.process("web").kill()
		w.remove("web.yaml")
		after(10 * time.Second)
		w.wantPhase("web", manifests.PhaseStopping)
		w.wantCondition("web", manifests.ConditionReconciling, "True", "", "the process does not die")
		// Across a restart too.
		w.stop()
		w.start()
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseStopping)
		w.runtimes.failCleanUp(nil)
		after(maxDelay)
		if w.view("web") != nil {
			t.Error("it is still there")
		}
	})
}
