package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// ago is a time so long ago, as in JSON.
func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }

// workloadJSON is a workload as the daemon sends it.
func workloadJSON(apiVersion, kind, name, spec, status string) json.RawMessage {
	return json.RawMessage(`{"apiVersion":"` + apiVersion + `","kind":"` + kind + `","metadata":{"name":"` + name +
		`","namespace":"default","generation":2,"uid":"u","creationTimestamp":"` + ago(30*time.Minute) + `"},"spec":` + spec + `,"status":` + status + `}`)
}

const templateJSON = `"template":{"spec":{"containers":[{"name":"main","image":"example.com/a:1"}]}}`

func TestGetWorkloads(t *testing.T) {
	running := workloadJSON("batch/v1", "Job", "pi", `{"completions":3,`+templateJSON+`}`, `{"startTime":"`+ago(20*time.Minute)+`","active":1,"succeeded":1}`)
	complete := workloadJSON("batch/v1", "Job", "done", `{`+templateJSON+`}`, `{"succeeded":1,"startTime":"`+ago(time.Hour)+`","completionTime":"`+ago(time.Hour-42*time.Second)+
		`","conditions":[{"type":"Complete","status":"True","lastTransitionTime":"`+ago(time.Hour)+`"}]}`)
	queue := workloadJSON("batch/v1", "Job", "queue", `{"parallelism":4,`+templateJSON+`}`, `{"conditions":[{"type":"Suspended","status":"True"},{"type":"Synced","status":"False","message":"spec.template cannot be changed"}]}`)
	tick := workloadJSON("batch/v1", "CronJob", "tick", `{"schedule":"*/5 * * * *","jobTemplate":{"spec":{`+templateJSON+`}}}`, `{"lastScheduleTime":"`+ago(25*time.Minute)+`","active":[{"name":"tick-1"}]}`)
	set := workloadJSON("apps/v1", "StatefulSet", "web", `{"replicas":3,`+templateJSON+`}`, `{"readyReplicas":2}`)
	for name, test := range map[string]struct {
		objects []json.RawMessage
		args    string
		want    string
	}{
		"jobs": {[]json.RawMessage{complete, running, queue}, "get jobs", lines(
			`NAME    STATUS      COMPLETIONS   DURATION   AGE   MESSAGE`,
			`done    Complete    1/1           42s        30m`,
			`pi      Running     1/3           20m        30m`,
			`queue   Suspended   0/1 of 4                 30m   spec.template cannot be changed`,
		)},
		"cron jobs": {[]json.RawMessage{tick}, "get cj", lines(
			`NAME   SCHEDULE      TIMEZONE   SUSPEND   ACTIVE   LAST SCHEDULE   AGE`,
			`tick   */5 * * * *   <none>     False     1        25m             30m`,
		)},
		"sets": {[]json.RawMessage{set}, "get sts -o wide", lines(
			`NAME   READY   AGE   CONTAINERS   IMAGES`,
			`web    2/3     30m   main         example.com/a:1`,
		)},
		"names": {[]json.RawMessage{tick, set}, "get all -o name", lines("cronjob/tick", "statefulset/web")},
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

func noEvents(context.Context, *api.EventsRequest, func(*api.Event) error) error { return nil }

func TestDescribeSaysWhoseASandboxIs(t *testing.T) {
	b := holds(webJSON(t, time.Minute, func(m map[string]any) {
		m["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}}
	}))
	b.EventsFunc = noEvents
	out := vzctl(t, b, "", "describe", "web")
	if !strings.Contains(out.stdout, "Controlled By:  StatefulSet/web\n") || !strings.Contains(out.stdout, "512Mi") {
		t.Errorf("%s\n%s", out.stdout, out.stderr)
	}
}

func TestDescribeSet(t *testing.T) {
	set := workloadJSON("apps/v1", "StatefulSet", "web", `{"replicas":3,`+templateJSON+`}`,
		`{"replicas":3,"readyReplicas":2,"availableReplicas":2,"updatedReplicas":1,"currentRevision":"web-a","updateRevision":"web-b"}`)
	b := holds(set)
	b.EventsFunc = noEvents
	out := vzctl(t, b, "", "describe", "sts/web")
	for _, want := range []string{"3 desired | 3 total | 2 ready | 2 available | 1 updated", "Current revision:  web-a", "example.com/a:1"} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("no %q in\n%s%s", want, out.stdout, out.stderr)
		}
	}
}

// setInFile is a backend with one set, whose manifest is in a file.
func setInFile(t *testing.T) (*apitest.Backend, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.yaml")
	const text = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 3 # enough
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: main, image: "example.com/a:2"}]}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set := workloadJSON("apps/v1", "StatefulSet", "web", `{"replicas":3,`+templateJSON+`}`, `{"source":{"file":"`+path+`","line":1}}`)
	revision := func(n, image string) json.RawMessage {
		return json.RawMessage(`{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"web-` + n + `","namespace":"default","ownerReferences":[{"kind":"StatefulSet","name":"web","controller":true}]},"revision":` + n +
			`,"data":{"spec":{"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"main","image":"` + image + `"}]}}}}}`)
	}
	b := holds(set)
	b.GetFunc = func(_ context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
		if req.GetKind() == "controllerrevision" {
			return []json.RawMessage{revision("1", "example.com/a:1"), revision("2", "example.com/a:2")}, nil
		}
		return []json.RawMessage{set}, nil
	}
	return b, path
}

func TestScalePrintsAPatch(t *testing.T) {
	b, _ := setInFile(t)
	out := vzctl(t, b, "", "scale", "sts/web", "--replicas=5")
	if out.code != exitDone || !strings.Contains(out.stdout, "-  replicas: 3 # enough\n+  replicas: 5 # enough\n") {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "scale", "sts/web", "--replicas=3"); out.code != exitDone || out.stdout != "" {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "scale", "sts/web", "--replicas=5000"); out.code != exitFailed || !strings.Contains(out.stderr, "not between") {
		t.Errorf("%+v", out)
	}
}

func TestRolloutUndoGoesBackOneRevision(t *testing.T) {
	b, path := setInFile(t)
	var applied *api.ApplyRequest
	b.ApplyFunc = func(_ context.Context, req *api.ApplyRequest) (*api.ApplyResponse, error) {
		applied = req
		return &api.ApplyResponse{}, nil
	}
	out := vzctl(t, b, "", "rollout", "undo", "statefulset/web", "--write")
	if out.code != exitDone || applied == nil || applied.GetFileName() != filepath.Base(path) ||
		!strings.Contains(string(applied.GetData()), "example.com/a:1") || !strings.Contains(string(applied.GetData()), "replicas: 3 # enough") {
		t.Errorf("%+v\n%s", out, applied.GetData())
	}
	if out := vzctl(t, b, "", "rollout", "undo", "statefulset/web", "--to-revision=7"); out.code != exitFailed || !strings.Contains(out.stderr, "no revision 7") {
		t.Errorf("%+v", out)
	}
	out = vzctl(t, b, "", "rollout", "history", "statefulset/web")
	if !strings.Contains(out.stdout, "web-2") || !strings.Contains(out.stdout, "example.com/a:1") {
		t.Errorf("%+v", out)
	}
}

func TestRolloutStatusEndsWithTheRollOut(t *testing.T) {
	state := func(status string) json.RawMessage {
		return workloadJSON("apps/v1", "StatefulSet", "web", `{"replicas":2,`+templateJSON+`}`, status)
	}
	b := holds(state(`{}`))
	b.WatchFunc = func(_ context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
		for _, r := range []*api.WatchResponse{
			{Type: api.WatchResponse_ADDED, Object: state(`{"observedGeneration":1}`)},
			{Type: api.WatchResponse_SYNCED},
			{Type: api.WatchResponse_MODIFIED, Object: state(`{"observedGeneration":2,"availableReplicas":1,"currentRevision":"a","updateRevision":"b"}`)},
			{Type: api.WatchResponse_MODIFIED, Object: state(`{"observedGeneration":2,"availableReplicas":2,"updatedReplicas":2,"currentRevision":"b","updateRevision":"b"}`)},
		} {
			if err := send(r); err != nil {
				return err
			}
		}
		return nil
	}
	out := vzctl(t, b, "", "rollout", "status", "sts/web")
	wantOutput(t, out.stdout, lines(
		"Waiting for the daemon to look at the set...",
		"Waiting for 1 sandboxes to be available...",
		"statefulset rolling update complete 2 sandboxes at revision b...",
	))
	if out.code != exitDone {
		t.Errorf("%+v", out)
	}
}

func TestLogsOfAWorkloadAreThoseOfItsSandboxes(t *testing.T) {
	owned := webJSON(t, time.Minute, func(m map[string]any) {
		m["metadata"].(map[string]any)["name"] = "pi-x7k2p"
		m["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"kind": "Job", "name": "pi", "controller": true}}
	})
	b := holds(webJSON(t, time.Minute, nil), owned)
	var asked []string
	b.LogsFunc = func(_ context.Context, req *api.LogsRequest, _ func([]byte) error) error {
		asked = append(asked, req.GetObject().GetName())
		return nil
	}
	if out := vzctl(t, b, "", "logs", "job/pi"); out.code != exitDone || strings.Join(asked, " ") != "pi-x7k2p" {
		t.Errorf("asked for %q: %+v", asked, out)
	}
	if out := vzctl(t, b, "", "logs", "job/other"); out.code != exitNotFound {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "logs", "cm/other"); out.code != exitUsage {
		t.Errorf("%+v", out)
	}
}
