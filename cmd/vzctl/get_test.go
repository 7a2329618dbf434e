package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func TestGetTables(t *testing.T) {
	web := webJSON(t, 30*time.Minute, nil)
	broken := webJSON(t, 30*time.Minute, unsynced)
	crashing := webJSON(t, 26*time.Hour, func(m map[string]any) {
		m["kind"], m["apiVersion"] = "Pod", "v1"
		m["metadata"].(map[string]any)["name"] = "db"
		s := status(m)
		s["phase"] = "Running"
		s["containerStatuses"] = []any{map[string]any{
			"name": "main", "ready": false, "restartCount": 12,
			"state": map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff", "message": "back-off 40s: exit code 1"}},
		}}
	})
	pending := webJSON(t, 30*time.Minute, func(m map[string]any) {
		s := status(m)
		s["phase"] = "Pending"
		s["containerStatuses"] = nil
		s["conditions"] = []any{condition("Ready", "False", "NoKernel", "kernel \"default\" is not installed: run vzctl kernel install\x1b[31m")}
	})
	preparing := webJSON(t, 30*time.Minute, func(m map[string]any) {
		s := status(m)
		s["phase"] = "Starting"
		s["initContainerStatuses"] = []any{
			map[string]any{"name": "a", "ready": true}, map[string]any{"name": "b", "state": map[string]any{"waiting": map[string]any{"reason": "PodInitializing"}}},
		}
		s["containerStatuses"] = []any{map[string]any{"name": "main", "state": map[string]any{"waiting": map[string]any{"reason": "PodInitializing"}}}}
	})
	failing := webJSON(t, 30*time.Minute, func(m map[string]any) {
		s := status(m)
		s["phase"] = "Starting"
		s["initContainerStatuses"] = []any{
			map[string]any{"name": "a", "restartCount": 2, "state": map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff", "message": "exit code 1"}}},
		}
		s["containerStatuses"] = []any{map[string]any{"name": "main", "state": map[string]any{"waiting": map[string]any{"reason": "PodInitializing"}}}}
	})
	unread := json.RawMessage(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default"},"status":{"phase":"Pending","conditions":[` +
		`{"type":"Synced","status":"False","reason":"InvalidManifest","message":"/m/web.yaml:1:7: not valid YAML"}]}}`)
	settings := json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"default"},"data":{"a":"1","b":"2"}}`)
	secret := json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"default"},"type":"Opaque","data":{"a":"MQ=="}}`)

	for name, test := range map[string]struct {
		objects []json.RawMessage
		args    string
		want    string
	}{
		"nothing wrong": {[]json.RawMessage{web}, "get", lines(
			`NAME   READY   STATUS    RESTARTS   AGE`,
			`web    1/1     Running   3          30m`,
		)},
		"a broken edit is told": {[]json.RawMessage{broken}, "get sandboxes", lines(
			`NAME   READY   STATUS    RESTARTS   AGE   MESSAGE`,
			`web    1/1     Running   3          30m   /m/web.yaml:4:9: spec.vm.cpu: unknown field (did you mean "cpus"?)`,
		)},
		"a container that crashes": {[]json.RawMessage{crashing, web}, "get sb", lines(
			`NAME   READY   STATUS             RESTARTS   AGE   MESSAGE`,
			`db     0/1     CrashLoopBackOff   12         26h   back-off 40s: exit code 1`,
			`web    1/1     Running            3          30m`,
		)},
		"control characters are made visible": {[]json.RawMessage{pending}, "get sb", lines(
			`NAME   READY   STATUS    RESTARTS   AGE   MESSAGE`,
			`web    -       Pending   0          30m   kernel "default" is not installed: run vzctl kernel install\x1b[31m`,
		)},
		"init containers on their way": {[]json.RawMessage{preparing}, "get sb", lines(
			`NAME   READY   STATUS     RESTARTS   AGE`,
			`web    0/1     Init:1/2   0          30m`,
		)},
		"an init container that crashes": {[]json.RawMessage{failing}, "get sb", lines(
			`NAME   READY   STATUS                  RESTARTS   AGE   MESSAGE`,
			`web    0/1     Init:CrashLoopBackOff   0          30m   exit code 1`,
		)},
		"one that could never be read": {[]json.RawMessage{unread}, "get sb", lines(
			`NAME   READY   STATUS    RESTARTS   AGE   MESSAGE`,
			`web    -       Pending   0          -     /m/web.yaml:1:7: not valid YAML`,
		)},
		"wide": {[]json.RawMessage{web}, "get sandbox web -o wide", lines(
			`NAME   READY   STATUS    RESTARTS   AGE   RUNTIME    IMAGE                         CPUS   MEMORY   SOURCE`,
			`web    1/1     Running   3          30m   qemu/tcg   docker.io/library/busybox:1   2      512Mi    /m/web.yaml:1:1`,
		)},
		"all namespaces": {[]json.RawMessage{web}, "get sb -A", lines(
			`NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE`,
			`default     web    1/1     Running   3          30m`,
		)},
		"several kinds": {[]json.RawMessage{settings, web, secret}, "get all", lines(
			`NAME                 DATA   AGE`,
			`configmap/settings   2      -`,
			``,
			`NAME          READY   STATUS    RESTARTS   AGE`,
			`sandbox/web   1/1     Running   3          30m`,
			``,
			`NAME       TYPE     DATA   AGE`,
			`secret/s   Opaque   1      -`,
		)},
		"names":             {[]json.RawMessage{settings, web}, "get all -o name", lines("configmap/settings", "sandbox/web")},
		"a field":           {[]json.RawMessage{web}, "get sandbox web -o jsonpath={.status.containerStatuses[0].restartCount}", "3"},
		"a field, bare":     {[]json.RawMessage{web}, "get sandbox/web -o jsonpath=.status.phase", "Running"},
		"fields of a list":  {[]json.RawMessage{web, crashing}, "get sb -o jsonpath={.items[*].metadata.name}", "web db"},
		"a filter":          {[]json.RawMessage{web}, `get sandbox web -o jsonpath={.status.conditions[?(@.type=="Ready")].status}`, "True"},
		"a field not there": {[]json.RawMessage{web}, "get sandbox web -o jsonpath={.status.nope}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := vzctl(t, holds(test.objects...), "", strings.Fields(test.args)...)
			if out.code != exitDone || out.stderr != "" {
				t.Fatalf("code %d, stderr %s", out.code, out.stderr)
			}
			wantOutput(t, out.stdout, test.want)
		})
	}
}

func TestGetJSONOfOneObjectIsTheObject(t *testing.T) {
	for _, args := range [][]string{{"get", "sandbox", "web", "-o", "json"}, {"get", "sandbox/web", "-o", "json"}} {
		out := vzctl(t, holds(webJSON(t, 0, nil)), "", args...)
		var o struct {
			Kind   string
			Status struct{ Phase string }
		}
		if err := json.Unmarshal([]byte(out.stdout), &o); err != nil || o.Kind != "Sandbox" || o.Status.Phase != "Running" {
			t.Errorf("%v: %v: %s", args, err, out.stdout)
		}
	}
}

func TestGetJSONOfAKindIsAList(t *testing.T) {
	for count, objects := range [][]json.RawMessage{nil, {webJSON(t, 0, nil)}} {
		out := vzctl(t, holds(objects...), "", "get", "sandboxes", "-o", "json")
		var list struct {
			Kind  string
			Items []json.RawMessage
		}
		if err := json.Unmarshal([]byte(out.stdout), &list); err != nil || list.Kind != "List" || list.Items == nil || len(list.Items) != count {
			t.Errorf("%d objects: %v: %s", count, err, out.stdout)
		}
	}
}

func TestGetYAML(t *testing.T) {
	out := vzctl(t, holds(webJSON(t, 0, nil)), "", "get", "sandbox", "web", "-o", "yaml")
	if !strings.HasPrefix(out.stdout, "apiVersion: vzreconciler.dev/v1alpha1\nkind: Sandbox\nmetadata:\n") {
		t.Errorf("got %s", out.stdout)
	}
}

func TestGetTellsOfManifestsThatCannotBeRead(t *testing.T) {
	b := holds()
	b.StatusFunc = func(context.Context) (*api.StatusResponse, error) {
		return &api.StatusResponse{
			SourceErrors: []*api.SourceError{{File: "/m/new.yaml", Line: 3, Column: 7, Message: `spec.imag: unknown field`}},
			PruneHeld:    []string{"Sandbox default/a", "Sandbox default/b"},
		}, nil
	}
	out := vzctl(t, b, "", "get")
	wantOutput(t, out.stderr, lines(
		`No objects found in namespace default.`,
		`Warning: /m/new.yaml:3:7: spec.imag: unknown field`,
		`Warning: the removal of 2 objects is held; see 'vzctl prune'`,
	))
}

func TestGetAsksForWhatWasMeant(t *testing.T) {
	for args, want := range map[string]string{
		"get":                               "sandbox default [] ",
		"get pods -n prod":                  "pod prod [] ",
		"get sb web db":                     "sandbox default [web] |sandbox default [db] ",
		"get sandbox/web cm/s":              "sandbox default [web] |configmap default [s] ",
		"get pod/a pod/b":                   "pod default [a] |pod default [b] ",
		"get pods,secrets -A -l app=web":    "pod  [] app=web|secret  [] app=web",
		"describe web":                      "sandbox default [web] ",
		"describe sandbox web":              "sandbox default [web] ",
		"describe configmap/settings -n ns": "configmap ns [settings] ",
		"get all":                           "all default [] ",
	} {
		var asked []string
		b := holds()
		b.GetFunc = func(_ context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
			asked = append(asked, strings.Join([]string{
				req.GetKind(), req.GetNamespace(), "[" + strings.Join(req.GetNames(), " ") + "]", req.GetLabelSelector(),
			}, " "))
			return nil, nil
		}
		if out := vzctl(t, b, "", strings.Fields(args)...); out.code != exitDone {
			t.Errorf("%s: %+v", args, out)
		}
		if got := strings.Join(asked, "|"); got != want {
			t.Errorf("%s: asked for %q, want %q", args, got, want)
		}
	}
}

func TestWatchShowsWhatIsThenWhatChanges(t *testing.T) {
	b := holds()
	b.WatchFunc = func(_ context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
		other := webJSON(t, 30*time.Minute, func(m map[string]any) { m["metadata"].(map[string]any)["name"] = "a-longer-name" })
		stopped := webJSON(t, 30*time.Minute, func(m map[string]any) { status(m)["phase"] = "Stopping" })
		for _, r := range []*api.WatchResponse{
			{Type: api.WatchResponse_ADDED, Object: webJSON(t, 30*time.Minute, nil)},
			{Type: api.WatchResponse_ADDED, Object: other},
			{Type: api.WatchResponse_SYNCED},
			{Type: api.WatchResponse_MODIFIED, Object: other}, // nothing that a column shows
			{Type: api.WatchResponse_MODIFIED, Object: stopped},
			{Type: api.WatchResponse_DELETED, Object: stopped},
		} {
			if err := send(r); err != nil {
				return err
			}
		}
		return nil
	}
	out := vzctl(t, b, "", "get", "sandboxes", "-w")
	wantOutput(t, out.stdout, lines(
		`NAME            READY   STATUS    RESTARTS   AGE   MESSAGE`,
		`web             1/1     Running   3          30m`,
		`a-longer-name   1/1     Running   3          30m`,
		`web             1/1     Stopping   3          30m`,
		`web             1/1     Deleted    3          30m`,
	))
	if out.code != exitDone {
		t.Errorf("code %d: %s", out.code, out.stderr)
	}
}

func TestGetShowsWhatIsThereBesideWhatIsNot(t *testing.T) {
	b := holds()
	b.GetFunc = func(_ context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
		if name := req.GetNames()[0]; name != "web" {
			return nil, notFound(name)
		}
		return []json.RawMessage{webJSON(t, time.Hour, nil)}, nil
	}
	out := vzctl(t, b, "", "get", "sandbox", "nosuch", "web", "-o", "name")
	if out.code != exitNotFound || out.stdout != "sandbox/web\n" || !strings.Contains(out.stderr, "nosuch not found") {
		t.Errorf("%+v", out)
	}
}
