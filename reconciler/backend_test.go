package reconciler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// get returns the names of the objects that fit, as "Kind/name".
func (w *world) get(req *api.GetRequest) []string {
	w.t.Helper()
	list, err := w.m.Get(w.t.Context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, data := range list {
		var o map[string]any
		if err := json.Unmarshal(data, &o); err != nil {
			w.t.Fatal(err)
		}
		names = append(names, o["kind"].(string)+"/"+o["metadata"].(map[string]any)["name"].(string))
	}
	return names
}

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: pod, labels: {app: x}}\nspec:\n  containers:\n  - {name: main, image: example.com/app:1, command: [serve]}\n"

func TestGetFindsByKindNameAndLabel(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.files["a.yaml"], w.files["b.yaml"], w.files["c.yaml"] = sandbox("web"), pod, configMap("conf", "a", "1")
		w.look()
		after(time.Second)
		for _, tc := range []struct {
			req  *api.GetRequest
			want string
		}{
			{&api.GetRequest{Kind: "sandboxes"}, "Pod/pod Sandbox/web"},
			{&api.GetRequest{Kind: "sb", LabelSelector: "app=x"}, "Pod/pod"},
			{&api.GetRequest{Kind: "pods"}, "Pod/pod"},
			{&api.GetRequest{Kind: "sandboxes.agents.x-k8s.io"}, ""},
			{&api.GetRequest{Kind: "sandbox", Names: []string{"web"}}, "Sandbox/web"},
			{&api.GetRequest{Kind: "sandbox", Namespace: "other"}, ""},
			{&api.GetRequest{Kind: "cm"}, "ConfigMap/conf"},
			{&api.GetRequest{Kind: "all"}, "ConfigMap/conf Pod/pod Sandbox/web"},
		} {
			if names := w.get(tc.req); strings.Join(names, " ") != tc.want {
				t.Errorf("get %v: %v, want %s", tc.req, names, tc.want)
			}
		}
		if _, err := w.m.Get(t.Context(), &api.GetRequest{Kind: "sandbox", Names: []string{"nosuch"}}); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("a name that is not there: %v", err)
		}
		if _, err := w.m.Get(t.Context(), &api.GetRequest{Kind: "gizmo"}); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("an unknown kind: %v", err)
		}
	})
}

func TestObjectsAreReadableByKstatus(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.BootDelay = duration(time.Second)
		want := func(status kstatus.Status) {
			t.Helper()
			w.wantKstatus("sandbox", "web", status)
		}
		w.write("web.yaml", sandbox("web"))
		want(kstatus.InProgressStatus)
		after(2 * time.Second)
		want(kstatus.CurrentStatus)
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1))
		want(kstatus.InProgressStatus)
		after(10 * time.Second)
		want(kstatus.CurrentStatus)
		w.kernels.set(errors.Join(drivers.ErrUnavailable))
		w.write("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:3", 1))
		after(time.Second)
		want(kstatus.FailedStatus)
		w.kernels.set(nil)
		w.write("web.yaml", dependent(sandbox("web", "args: [x]"), "{name: db}"))
		after(manifests.DefaultProgressDeadlineSeconds*time.Second - time.Second)
		want(kstatus.InProgressStatus)
		after(2 * time.Second)
		want(kstatus.FailedStatus)
		w.write("db.yaml", sandbox("db"))
		after(10 * time.Second)
		want(kstatus.CurrentStatus)
	})
}

func TestSecretsAreShownWithoutTheirValues(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {token: aHVudGVyMg==}\nstringData: {other: hunter3}\n")
		list, err := w.m.Get(t.Context(), &api.GetRequest{Kind: "secrets"})
		if err != nil || len(list) != 1 {
			t.Fatalf("%s, %v", list, err)
		}
		for _, secret := range []string{"aHVudGVyMg", "hunter"} {
			if bytes.Contains(list[0], []byte(secret)) {
				t.Errorf("shown: %s", list[0])
			}
		}
		if !bytes.Contains(list[0], []byte("token")) {
			t.Errorf("its keys are not shown: %s", list[0])
		}
	})
}

// watch appends to got what is told of objects of a kind, "ADDED web Running",
// until end is called.
func (w *world) watch(kind string, got *[]string) (end func() error) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- w.m.Watch(ctx, &api.GetRequest{Kind: kind}, func(r *api.WatchResponse) error {
			var o struct {
				Metadata struct{ Name string }
				Status   manifests.SandboxStatus
			}
			if len(r.GetObject()) > 0 {
				if err := json.Unmarshal(r.GetObject(), &o); err != nil {
					return err
				}
			}
			*got = append(*got, r.GetType().String()+" "+o.Metadata.Name+" "+string(o.Status.Phase))
			return nil
		})
	}()
	synctest.Wait()
	return func() error {
		cancel()
		return <-ended
	}
}

func TestWatchTellsOfEachChangeAndOfTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		var got []string
		end := w.watch("sandbox", &got)
		if want := []string{"ADDED web Running", "SYNCED  "}; !slices.Equal(got, want) {
			t.Fatalf("at first %q, want %q", got, want)
		}
		got = nil
		after(time.Hour)
		if len(got) != 0 {
			t.Fatalf("nothing changed, but %q", got)
		}
		w.write("db.yaml", sandbox("db"))
		if len(got) == 0 || got[0][:8] != "ADDED db" || got[len(got)-1] != "MODIFIED db Running" {
			t.Fatalf("after a new one %q", got)
		}
		got = nil
		w.remove("db.yaml")
		after(time.Minute)
		if len(got) == 0 || got[len(got)-1] != "DELETED db Stopping" {
			t.Fatalf("after its removal %q", got)
		}
		if err := end(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestApplyWritesComparesAndRefuses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		apply := func(file, data string) (string, error) {
			resp, err := w.m.Apply(t.Context(), &api.ApplyRequest{FileName: file, Data: []byte(data)})
			synctest.Wait()
			var results []string
			for _, r := range resp.GetResults() {
				results = append(results, r.GetObject().GetName()+" "+r.GetResult())
			}
			return strings.Join(results, ", "), err
		}
		want := func(file, data, result string) {
			t.Helper()
			if got, err := apply(file, data); err != nil || got != result {
				t.Fatalf("got %q, %v; want %q", got, err, result)
			}
		}
		refused := func(file, data, text string) {
			t.Helper()
			if _, err := apply(file, data); !errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), text) {
				t.Fatalf("got %v, want a refusal with %q", err, text)
			}
		}
		want("web.yaml", sandbox("web"), "web created")
		w.wantPhase("web", manifests.PhaseRunning)
		want("web.yaml", sandbox("web"), "web unchanged")
		want("web.yaml", strings.Replace(sandbox("web"), "app:1", "app:2", 1), "web configured")
		after(time.Minute)
		if got := w.status("web").ContainerStatuses[0].Image; got != "example.com/app:2" {
			t.Errorf("image %s", got)
		}
		// Another object in the same file leaves the first where it is.
		want("web.yaml", configMap("conf", "a", "1"), "conf created")
		w.wantPhase("web", manifests.PhaseRunning)

		refused("other.yaml", sandbox("web"), filepath.Join(w.dir, "web.yaml"))
		refused("x.yaml", configMap("ok", "a", "1")+"---\n"+sandbox("bad", "imagee: x"), "x.yaml:16:9")
		refused("x.yaml", configMap("ok", "a", "1")+"---\n"+configMap("ok", "a", "1"), "ConfigMap default/ok")
		refused("x.yaml", "# nothing\n", "no object")
		for _, name := range []string{"", "../x.yaml", "a/b.yaml", ".x.yaml", "x.txt", "/etc/x.yaml"} {
			refused(name, sandbox("other"), "no name for a manifest file")
		}
		if exists(filepath.Join(w.dir, "x.yaml")) || exists(filepath.Join(w.dir, "other.yaml")) {
			t.Error("a refused file was written")
		}
		if resp, err := w.m.Apply(t.Context(), &api.ApplyRequest{FileName: "dry.yaml", Data: []byte(sandbox("dry")), DryRun: true}); err != nil ||
			resp.GetResults()[0].GetResult() != resultCreated || exists(filepath.Join(w.dir, "dry.yaml")) {
			t.Errorf("dry run: %v, %v", resp, err)
		}
	})
}

func TestApplyToCreateRefusesWhatIsThere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		create := func(data string, dryRun bool) error {
			_, err := w.m.Apply(t.Context(), &api.ApplyRequest{FileName: "web.yaml", Data: []byte(data), Create: true, DryRun: dryRun})
			synctest.Wait()
			return err
		}
		if err := create(sandbox("web"), false); err != nil {
			t.Fatal(err)
		}
		w.wantPhase("web", manifests.PhaseRunning)
		for name, data := range map[string]string{
			"the same": sandbox("web"), "another": strings.Replace(sandbox("web"), "app:1", "app:2", 1),
		} {
			for _, dryRun := range []bool{true, false} {
				if err := create(data, dryRun); !errors.Is(err, drivers.ErrInvalidState) || !strings.Contains(err.Error(), "Sandbox default/web") {
					t.Errorf("%s, dry run %v: %v", name, dryRun, err)
				}
			}
		}
		if data, err := os.ReadFile(filepath.Join(w.dir, "web.yaml")); err != nil || string(data) != sandbox("web") {
			t.Errorf("the file was touched: %s, %v", data, err)
		}
	})
}

func TestApplyMendsABrokenFile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		path := filepath.Join(w.dir, "web.yaml")
		writeFile(t, path, sandbox("web"))
		w.look()
		synctest.Wait()
		writeFile(t, path, sandbox("web", "imagee: x"))
		w.look()
		synctest.Wait()
		w.wantCondition("web", manifests.ConditionSynced, "False", "", "")
		if _, err := w.m.Apply(t.Context(), &api.ApplyRequest{FileName: "web.yaml", Data: []byte(sandbox("web"))}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
	})
}

func TestApplyDoesNotBringAVanishedDirectoryBackEmpty(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		writeFile(t, filepath.Join(w.dir, "web.yaml"), sandbox("web"))
		w.look()
		synctest.Wait()
		if err := os.Rename(w.dir, w.dir+"-away"); err != nil {
			t.Fatal(err)
		}
		w.missing.Store(true)
		_, err := w.m.Apply(t.Context(), &api.ApplyRequest{FileName: "db.yaml", Data: []byte(sandbox("db"))})
		if !errors.Is(err, drivers.ErrUnavailable) || exists(w.dir) {
			t.Errorf("got %v", err)
		}
		if err := os.Rename(w.dir+"-away", w.dir); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDeleteTakesTheDocumentOutAndNeedsNoConfirmation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.onDisk = true
		path := filepath.Join(w.dir, "all.yaml")
		writeFile(t, path, sandbox("a")+"---\n"+sandbox("b")+"---\n"+sandbox("c")+"---\n"+sandbox("d"))
		w.look()
		after(time.Second)
		for _, name := range []string{"a", "b", "c"} {
			resp, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Kind: "sandbox", Name: name}})
			if err != nil || resp.GetFile() != path {
				t.Fatalf("%v, %v", resp, err)
			}
		}
		after(time.Minute)
		if names := w.get(&api.GetRequest{Kind: "sandbox"}); strings.Join(names, " ") != "Sandbox/d" {
			t.Errorf("left: %v", names)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != "---\n"+sandbox("d") {
			t.Errorf("file %q, %v", data, err)
		}
		if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Name: "d"}}); err != nil || exists(path) {
			t.Errorf("the file is there after the removal of the last object: %v", err)
		}
		if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Name: "a"}}); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("of one that is gone: %v", err)
		}
		synctest.Wait()
	})
}

func TestExecRunsInTheContainersEnvironment(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web", "env: [{name: A, value: from-manifest}]"))
		var out bytes.Buffer
		started := 0
		exec := func(req *api.ExecStart, stdin io.Reader) (drivers.ExitStatus, error) {
			out.Reset()
			req.Object = &api.Ref{Name: "web"}
			return w.m.Exec(t.Context(), req, drivers.Stdio{Stdin: stdin, Stdout: &out}, func(int, time.Time) { started++ })
		}
		if st, err := exec(&api.ExecStart{Args: []string{"sh", "-c", "echo hello; exit 3"}}, nil); err != nil || st.Code != 3 || out.String() != "hello\n" || started != 1 {
			t.Errorf("got %+v, %v, %q, started %d times", st, err, out.String(), started)
		}
		if _, err := exec(&api.ExecStart{Args: []string{"true"}, Container: "nosuch"}, nil); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("in a container that is not there: %v", err)
		}
		if _, err := exec(&api.ExecStart{}, nil); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("of nothing: %v", err)
		}
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: &api.Ref{Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if _, err := exec(&api.ExecStart{Args: []string{"true"}}, nil); !errors.Is(err, drivers.ErrInvalidState) {
			t.Errorf("in a stopped sandbox: %v", err)
		}
	})
}

func TestStatisticsTellWhyThereAreNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		resp, err := w.m.Statistics(t.Context(), &api.StatisticsRequest{})
		if err != nil || len(resp.GetItems()) != 1 || resp.GetItems()[0].GetStatistics() == nil {
			t.Fatalf("%v, %v", resp, err)
		}
		resp, err = w.m.Statistics(t.Context(), &api.StatisticsRequest{Objects: []*api.Ref{{Name: "nosuch"}}})
		if err != nil || !strings.Contains(resp.GetItems()[0].GetError(), "not found") {
			t.Fatalf("%v, %v", resp, err)
		}
	})
}

func TestMissingObjectsAreToldWithWhatIsThere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("frontend"))
		w.write("other.yaml", strings.Replace(sandbox("db"), "name: db", "name: db, namespace: prod", 1))
		for name, want := range map[string]string{
			"frontned": `did you mean "frontend"?`,
			"db":       "another namespace: -n prod",
			"zzz":      `"vzctl get sandboxes -A" shows`,
		} {
			_, err := w.m.Get(t.Context(), &api.GetRequest{Kind: "sandbox", Namespace: "default", Names: []string{name}})
			if !errors.Is(err, drivers.ErrNotFound) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
		_, err := w.m.Get(t.Context(), &api.GetRequest{Kind: "pod", Namespace: "default", Names: []string{"frontend"}})
		if err == nil || !strings.Contains(err.Error(), "what has that name is a Sandbox") {
			t.Errorf("a sandbox that is no Pod: %v", err)
		}
	})
}

func TestLogsEndWhenTheSandboxIsRemoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		log := w.state.Bundle("default", "web").ProcessLog("main")
		if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, log, "2026-11-23T17:51:18.123456789Z stdout F one\n2026-11-23T17:51:19.123456789Z stdout F two\n")
		var got string
		req := &api.LogsRequest{Object: &api.Ref{Name: "web"}, Tail: 1}
		send := func(data []byte) error { got += string(data); return nil }
		if err := w.m.Logs(t.Context(), req, send); err != nil || got != "2026-11-23T17:51:19.123456789Z stdout F two\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		req.Container = "nosuch"
		if err := w.m.Logs(t.Context(), req, send); !errors.Is(err, drivers.ErrNotFound) {
			t.Fatalf("of a container that is not there: %v", err)
		}
	})
}

func TestImageInUseIsNotRemoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		_, err := w.m.RemoveImage(t.Context(), &api.RemoveImageRequest{Reference: "example.com/app:1"})
		if !errors.Is(err, drivers.ErrInvalidState) || !strings.Contains(err.Error(), "default/web") {
			t.Fatal(err)
		}
		list, err := w.m.ListImages(t.Context())
		if err != nil || len(list.GetImages()) != 1 || !slices.Equal(list.GetImages()[0].GetUsedBy(), []string{"default/web"}) {
			t.Fatalf("%v, %v", list, err)
		}
		var stages []string
		err = w.m.PullImage(t.Context(), &api.PullImageRequest{Reference: "example.com/new:1"}, func(r *api.PullImageResponse) error {
			stages = append(stages, r.GetStage())
			return nil
		})
		if err != nil || len(stages) == 0 || stages[len(stages)-1] != "Done" {
			t.Fatalf("%v, %v", stages, err)
		}
	})
}

func TestEventsOfAnObjectOutliveIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		w.remove("web.yaml")
		after(time.Minute)
		var reasons []string
		err := w.m.Events(t.Context(), &api.EventsRequest{Object: &api.Ref{Kind: "sandbox", Name: "web"}}, func(e *api.Event) error {
			reasons = append(reasons, e.GetReason())
			return nil
		})
		if err != nil || len(reasons) == 0 || reasons[0] != "Created" || reasons[len(reasons)-1] != "Deleted" {
			t.Fatalf("%v, %v", reasons, err)
		}
	})
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
