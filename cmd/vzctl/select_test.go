package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// named is a sandbox with this name, CPUs and labels.
func named(t *testing.T, name string, cpus int, labels map[string]any) json.RawMessage {
	t.Helper()
	return webJSON(t, 30*time.Minute, func(m map[string]any) {
		meta := m["metadata"].(map[string]any)
		meta["name"], meta["labels"] = name, labels
		m["spec"].(map[string]any)["vm"] = map[string]any{"cpus": cpus}
	})
}

func TestGetShapesItsTable(t *testing.T) {
	objects := []json.RawMessage{
		named(t, "a", 10, map[string]any{"app": "x", "tier": "front"}), named(t, "b", 9, nil),
		json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"},"data":{"a":"1"}}`),
	}
	for args, want := range map[string]string{
		"get all -o custom-columns=NAME:.metadata.name,CPUS:.spec.vm.cpus,IMAGES:.spec.podTemplate.spec.containers[*].image": lines(
			`NAME   CPUS     IMAGES`,
			`a      10       docker.io/library/busybox:1`,
			`b      9        docker.io/library/busybox:1`,
			`c      <none>   <none>`,
		),
		"get all -o custom-columns=N:metadata.name --no-headers --sort-by .spec.vm.cpus": lines("c", "b", "a"),
		"get all -o name --sort-by {.metadata.name}":                                     lines("sandbox/a", "sandbox/b", "configmap/c"),
		"get sb --no-headers": lines(
			`a   1/1   Running   3   30m`,
			`b   1/1   Running   3   30m`,
			``,
			`c   1   -`,
		),
		"get all --show-labels --sort-by .spec.vm.cpus": lines(
			`NAME          DATA   AGE   LABELS`,
			`configmap/c   1      -     <none>`,
			``,
			`NAME        READY   STATUS    RESTARTS   AGE   LABELS`,
			`sandbox/b   1/1     Running   3          30m   <none>`,
			`sandbox/a   1/1     Running   3          30m   app=x,tier=front`,
		),
	} {
		out := vzctl(t, holds(objects...), "", strings.Fields(args)...)
		if out.code != exitDone {
			t.Errorf("%s: %+v", args, out)
		}
		wantOutput(t, out.stdout, want)
	}
}

func TestWatchShowsChosenColumns(t *testing.T) {
	b := holds()
	b.WatchFunc = func(_ context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
		for _, r := range []*api.WatchResponse{
			{Type: api.WatchResponse_ADDED, Object: named(t, "a", 1, nil)},
			{Type: api.WatchResponse_SYNCED},
			{Type: api.WatchResponse_MODIFIED, Object: named(t, "a", 2, nil)},
		} {
			if err := send(r); err != nil {
				return err
			}
		}
		return nil
	}
	out := vzctl(t, b, "", "get", "sb", "-w", "-o", "custom-columns=NAME:.metadata.name,CPUS:.spec.vm.cpus")
	wantOutput(t, out.stdout, lines(`NAME   CPUS`, `a      1`, `a      2`))
}

func TestBadShapesAreUsageErrors(t *testing.T) {
	for _, args := range []string{
		"get -o custom-columns=", "get -o custom-columns=NAME", "get -o custom-columns=NAME:{.a", "get --sort-by {.a",
		"get -w --sort-by .a", "get web --field-selector a=b", "delete sandbox -l a=b web", "delete sandbox", "delete -l a=b",
		"delete -f x.yaml -l a=b", "logs", "logs web -l a=b", "events web --for web", "describe", "wait sandbox",
	} {
		if out := vzctl(t, holds(), "", strings.Fields(args)...); out.code != exitUsage {
			t.Errorf("%s: %+v", args, out)
		}
	}
}

func TestSelectorsReachTheDaemon(t *testing.T) {
	for args, want := range map[string]string{
		"get sb -l app=web --field-selector status.phase!=Running": "app=web status.phase!=Running",
		"describe sb -l app=web":                                   "app=web ",
		"describe sb --field-selector kind=Pod":                    " kind=Pod",
		"logs -l app=web":                                          "app=web ",
		"delete sb -l app=web --field-selector kind=Pod":           "app=web kind=Pod",
		"delete sb --all":                                          " ",
	} {
		var asked []string
		b := holds()
		b.GetFunc = func(_ context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
			asked = append(asked, req.GetLabelSelector()+" "+req.GetFieldSelector())
			return nil, nil
		}
		if out := vzctl(t, b, "", strings.Fields(args)...); out.code != exitDone || !slices.Equal(asked, []string{want}) || !strings.Contains(out.stderr, "No objects found") {
			t.Errorf("%s: asked %q, want %q: %+v", args, asked, want, out)
		}
	}
}

func TestDeleteWhatIsSelected(t *testing.T) {
	var deleted []string
	b := holds(named(t, "a", 1, nil), json.RawMessage(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b","namespace":"prod"}}`))
	b.DeleteFunc = func(_ context.Context, req *api.DeleteRequest) (*api.DeleteResponse, error) {
		deleted = append(deleted, req.GetObject().GetKind()+" "+req.GetObject().GetNamespace()+"/"+req.GetObject().GetName())
		return &api.DeleteResponse{}, nil
	}
	out := vzctl(t, b, "", "delete", "sandboxes", "-A", "-l", "app=web", "--wait=false")
	if got := strings.Join(deleted, ", "); out.code != exitDone || got != "Sandbox default/a, Sandbox prod/b" {
		t.Errorf("deleted %s: %+v", got, out)
	}
}

func TestLogsOfSelectedSandboxesAreShort(t *testing.T) {
	var asked []*api.LogsRequest
	b := holds(named(t, "a", 1, nil), named(t, "b", 1, nil))
	b.LogsFunc = func(_ context.Context, req *api.LogsRequest, _ func([]byte) error) error {
		asked = append(asked, req)
		return nil
	}
	if out := vzctl(t, b, "", "logs", "-l", "app=web"); out.code != exitDone || len(asked) != 2 || asked[1].GetObject().GetName() != "b" || asked[1].GetTail() != selectedTail {
		t.Errorf("asked for %v: %+v", asked, out)
	}
	if out := vzctl(t, b, "", "logs", "-l", "app=web", "--tail=-1"); out.code != exitDone || asked[3].GetTail() != -1 {
		t.Errorf("asked for %v: %+v", asked, out)
	}
}

func TestEventsAreChosen(t *testing.T) {
	var asked *api.EventsRequest
	b := &apitest.Backend{EventsFunc: func(_ context.Context, req *api.EventsRequest, _ func(*api.Event) error) error {
		asked = req
		return nil
	}}
	out := vzctl(t, b, "", "events", "--for", "cm/settings", "--types=Warning,Normal", "-n", "prod")
	if o := asked.GetObject(); out.code != exitDone || o.GetKind() != "ConfigMap" || o.GetName() != "settings" || o.GetNamespace() != "prod" ||
		strings.Join(asked.GetTypes(), " ") != "Warning Normal" {
		t.Errorf("asked for %v: %+v", asked, out)
	}
}

func TestDescribeShowsThePlan(t *testing.T) {
	b := holds(named(t, "web", 1, nil))
	b.EventsFunc = func(context.Context, *api.EventsRequest, func(*api.Event) error) error { return nil }
	plan := &api.PlanResponse{Goal: "Run"}
	b.PlanFunc = func(context.Context, *api.PlanRequest) (*api.PlanResponse, error) { return plan, nil }
	section := func() string {
		t.Helper()
		out := vzctl(t, b, "", "describe", "web")
		_, rest, _ := strings.Cut(out.stdout, "\nPlan:\n")
		text, _, ok := strings.Cut(rest, "Events:")
		if !ok {
			t.Fatalf("%+v", out)
		}
		return text
	}
	wantOutput(t, section(), lines(`  Goal:  Run`, `  Next:  nothing to do`))
	plan = &api.PlanResponse{
		Goal: "Run", Rebuild: "Recreate",
		Current: &api.PlanStep{Verb: "Prepare", Description: "bring the images here"}, Note: "pulling 40 %",
		Next:  []*api.PlanStep{{Verb: "Bootstrap", Description: "boot"}, {Verb: "StartContainer", Container: "main", Description: "start a container"}},
		Waits: []string{"missing: Secret default/token", "back-off until 12:00:00"},
	}
	wantOutput(t, section(), lines(
		`  Goal:   Run, with the virtual machine made anew: Recreate`,
		`  Now:    Prepare: bring the images here`,
		`          pulling 40 %`,
		`  Next:   Bootstrap: boot`,
		`          StartContainer main: start a container`,
		`  Waits:  missing: Secret default/token`,
		`          back-off until 12:00:00`,
	))
}
