package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func warmJSON(kind, name, spec, status string) json.RawMessage {
	return workloadJSON(manifests.ExtensionsAPIVersion, kind, name, spec, status)
}

func testClaim() json.RawMessage {
	return warmJSON(manifests.KindSandboxClaim, "alice",
		`{"warmPoolRef":{"name":"warm"},"env":[{"name":"TOKEN","value":"geheim"}],"lifecycle":{"ttlSecondsAfterFinished":60}}`,
		`{"sandbox":{"name":"warm-abcde","podIPs":["10.0.0.7"]},"conditions":[{"type":"Ready","status":"True","reason":"DependenciesReady"}]}`)
}

func testPool(file string) json.RawMessage {
	return warmJSON(manifests.KindSandboxWarmPool, "warm", `{"replicas":3,"sandboxTemplateRef":{"name":"py"}}`,
		`{"replicas":3,"readyReplicas":2,"source":{"file":"`+file+`","line":1}}`)
}

func TestGetWarmPoolsAndClaims(t *testing.T) {
	waiting := warmJSON(manifests.KindSandboxClaim, "bob", `{"warmPoolRef":{"name":"cold"}}`,
		`{"conditions":[{"type":"Ready","status":"False","reason":"WarmPoolNotFound","message":"x"},{"type":"Stalled","status":"True","message":"SandboxWarmPool \"cold\" not found"}]}`)
	py := warmJSON(manifests.KindSandboxTemplate, "py", `{"podTemplate":{"spec":{"containers":[{"name":"main","image":"example.com/a:1"}]}}}`, `{}`)
	for args, test := range map[string]struct {
		objects []json.RawMessage
		want    string
	}{
		"get sandboxclaims": {[]json.RawMessage{testClaim(), waiting}, lines(
			`NAME    READY   SANDBOX      REASON              AGE   MESSAGE`,
			`alice   True    warm-abcde   DependenciesReady   30m`,
			`bob     False   <none>       WarmPoolNotFound    30m   SandboxWarmPool "cold" not found`,
		)},
		"get swp -o wide": {[]json.RawMessage{testPool("x")}, lines(
			`NAME   READY   DESIRED   AGE   TEMPLATE`,
			`warm   2       3         30m   py`,
		)},
		"get sandboxtemplates -o wide": {[]json.RawMessage{py}, lines(
			`NAME   AGE   CONTAINERS   IMAGES`,
			`py     30m   main         example.com/a:1`,
		)},
	} {
		t.Run(args, func(t *testing.T) {
			out := vzctl(t, holds(test.objects...), "", strings.Fields(args)...)
			if out.code != exitDone || out.stderr != "" {
				t.Fatalf("code %d, stderr %s", out.code, out.stderr)
			}
			wantOutput(t, out.stdout, test.want)
		})
	}
}

func TestDescribeClaimAndPool(t *testing.T) {
	for name, test := range map[string]struct {
		object json.RawMessage
		want   []string
	}{
		"sandboxclaim/alice":   {testClaim(), []string{"Sandbox:             warm-abcde", "10.0.0.7", "TTL after finished:  60s", "Variable:            TOKEN"}},
		"sandboxwarmpool/warm": {testPool("x"), []string{"3 desired | 3 total | 2 ready", "Update strategy:  OnReplenish", "Template:         py"}},
	} {
		b := holds(test.object)
		b.EventsFunc = noEvents
		out := vzctl(t, b, "", "describe", name)
		for _, want := range test.want {
			if !strings.Contains(out.stdout, want) {
				t.Errorf("no %q in\n%s%s", want, out.stdout, out.stderr)
			}
		}
		if strings.Contains(out.stdout, "geheim") {
			t.Errorf("a variable's value is shown:\n%s", out.stdout)
		}
	}
}

func TestScalePoolPrintsAPatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pool.yaml")
	text := "apiVersion: " + manifests.ExtensionsAPIVersion + "\nkind: SandboxWarmPool\nmetadata: {name: warm}\nspec:\n  replicas: 3\n  sandboxTemplateRef: {name: py}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := vzctl(t, holds(testPool(path)), "", "scale", "swp/warm", "--replicas=5")
	if out.code != exitDone || !strings.Contains(out.stdout, "-  replicas: 3\n+  replicas: 5\n") {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, holds(), "", "scale", "job/pi", "--replicas=5"); out.code != exitUsage {
		t.Errorf("%+v", out)
	}
}

func TestTreeShowsWhatAClaimOwns(t *testing.T) {
	mine := webJSON(t, time.Minute, func(m map[string]any) {
		m["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": manifests.ExtensionsAPIVersion, "kind": "SandboxClaim", "name": "alice", "uid": "u", "controller": true}}
	})
	out := vzctl(t, holds(testClaim(), testPool("x"), mine), "", "tree")
	wantOutput(t, out.stdout, lines(
		`OBJECT                     READY   STATUS    RELATION`,
		`sandboxclaim/alice`,
		`├─ sandboxwarmpool/warm                      uses (optional)`,
		`│  └─ sandboxtemplate/py           Missing   uses`,
		`└─ sandbox/web             1/1     Running   owns`,
	))
}
