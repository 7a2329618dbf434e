package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func TestReconcileVerbs(t *testing.T) {
	for args, want := range map[string]struct {
		asked, stdout string
		code          int
	}{
		"suspend web":               {"suspend Sandbox default/web", "sandbox/web suspended\n", exitDone},
		"suspend sandbox web -n ns": {"suspend Sandbox default/web", "sandbox/web suspended\n", exitDone},
		"suspend -l app=web":        {"suspend Sandbox default/web", "sandbox/web suspended\n", exitDone},
		"suspend --all":             {"suspend all", "reconciling suspended\n", exitDone},
		"resume sandbox/web":        {"resume Sandbox default/web", "sandbox/web resumed\n", exitDone},
		"resume --all":              {"resume all", "reconciling resumed\n", exitDone},
		"now":                       {"now all", "reconciling reconciled\n", exitDone},
		"now web":                   {"now Sandbox default/web", "sandbox/web reconciled\n", exitDone},
		"suspend":                   {"", "", exitUsage},
		"suspend sandbox":           {"", "", exitUsage},
		"suspend web --all":         {"", "", exitUsage},
		"resume -l app=web --all":   {"", "", exitUsage},
	} {
		var asked []string
		note := func(verb string, ref *api.Ref) error {
			text := verb + " all"
			if ref != nil {
				text = verb + " " + ref.GetKind() + " " + ref.GetNamespace() + "/" + ref.GetName()
			}
			asked = append(asked, text)
			return nil
		}
		b := holds(named(t, "web", 1, nil))
		b.SuspendReconcilingFunc = func(_ context.Context, req *api.SuspendReconcilingRequest) error {
			return note("suspend", req.GetObject())
		}
		b.ResumeReconcilingFunc = func(_ context.Context, req *api.ResumeReconcilingRequest) error {
			return note("resume", req.GetObject())
		}
		b.ReconcileNowFunc = func(_ context.Context, req *api.ReconcileNowRequest) error { return note("now", req.GetObject()) }
		out := vzctl(t, b, "", append([]string{"reconcile"}, strings.Fields(args)...)...)
		if got := strings.Join(asked, ", "); out.code != want.code || out.stdout != want.stdout || got != want.asked {
			t.Errorf("%s: asked %q: %+v", args, got, out)
		}
	}
}

func TestSuspensionIsShown(t *testing.T) {
	b := holds(webJSON(t, time.Hour, func(m map[string]any) {
		status(m)["conditions"] = []any{condition("Synced", "False", "Suspended", "its manifest is not followed since noon")}
	}))
	b.StatusFunc = func(context.Context) (*api.StatusResponse, error) {
		return &api.StatusResponse{SuspendedSince: timestamppb.New(time.Now().Add(-time.Hour))}, nil
	}
	out := vzctl(t, b, "", "get")
	if !strings.Contains(out.stdout, "its manifest is not followed since noon") || !strings.Contains(out.stderr, "Warning: no manifest is followed since ") {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "system", "status"); !strings.Contains(out.stdout, "no manifest is followed since ") || !strings.Contains(out.stdout, "vzctl reconcile resume --all") {
		t.Errorf("%+v", out)
	}
}

func TestTreeShowsWhatDependsOnWhat(t *testing.T) {
	uses := func(name string, container map[string]any) json.RawMessage {
		return webJSON(t, time.Hour, func(m map[string]any) {
			m["metadata"].(map[string]any)["name"] = name
			container["name"], container["image"] = "main", "a:1"
			m["spec"].(map[string]any)["podTemplate"] = map[string]any{"spec": map[string]any{"containers": []any{container}}}
		})
	}
	ref := func(kind, name string, optional bool) map[string]any {
		return map[string]any{kind: map[string]any{"name": name, "optional": optional}}
	}
	child := webJSON(t, time.Hour, func(m map[string]any) {
		meta := m["metadata"].(map[string]any)
		meta["name"] = "child"
		meta["ownerReferences"] = []any{map[string]any{"apiVersion": "vzreconciler.dev/v1alpha1", "kind": "Sandbox", "name": "web", "uid": "u-1"}}
	})
	b := holds(
		json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"alone","namespace":"default"}}`),
		json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"default"}}`),
		child,
		uses("web", map[string]any{"envFrom": []any{ref("configMapRef", "settings", false), ref("secretRef", "token", false)}}),
		uses("api", map[string]any{
			"envFrom": []any{ref("secretRef", "extra", true)},
			"env":     []any{map[string]any{"name": "A", "valueFrom": map[string]any{"configMapKeyRef": map[string]any{"name": "settings", "key": "a"}}}},
		}),
	)
	out := vzctl(t, b, "", "tree")
	wantOutput(t, out.stdout, lines(
		`OBJECT                  READY   STATUS    RELATION`,
		`sandbox/api             1/1     Running`,
		`├─ configmap/settings                     uses a`,
		`└─ secret/extra                 Missing   uses (optional)`,
		`sandbox/web             1/1     Running`,
		`├─ sandbox/child        1/1     Running   owns`,
		`├─ configmap/settings                     uses`,
		`└─ secret/token                 Missing   uses`,
		`configmap/alone`,
	))
	wantJSON := vzctl(t, b, "", "tree", "--used-by", "-o", "jsonpath={range .items[*]}{.kind}/{.name}:{.children[*].name};{end}")
	if want := "ConfigMap/settings:web api;Sandbox/child:web;Secret/extra:api;Secret/token:web;ConfigMap/alone:;"; wantJSON.stdout != want {
		t.Errorf("got %s, want %s", wantJSON.stdout, want)
	}
}

func TestTreeOfARingEnds(t *testing.T) {
	g := &graph{nodes: map[nodeKey]*object{}, edges: map[nodeKey][]edge{}, grown: map[nodeKey]bool{}}
	a, b, c := nodeKey{"X", "d", "a"}, nodeKey{"X", "d", "b"}, nodeKey{"X", "d", "c"}
	g.order = []nodeKey{a, b, c}
	g.edges[a], g.edges[b], g.edges[c] = []edge{{to: b}}, []edge{{to: a}}, []edge{{to: c}}
	var names []string
	for _, root := range g.roots() {
		for _, row := range g.grow(root).rows(nil, false, "", "") {
			names = append(names, row[0].Text+row[3].Text)
		}
	}
	if got := strings.Join(names, "|"); got != "x/c|└─ x/c(see above)|x/a|└─ x/b|   └─ x/a(see above)" {
		t.Errorf("got %s", got)
	}
}
