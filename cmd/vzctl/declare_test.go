package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
}

// applies returns a backend that notes what is applied, as "FILE: DATA".
func applies(noted *[]string) *apitest.Backend {
	return &apitest.Backend{ApplyFunc: func(_ context.Context, req *api.ApplyRequest) (*api.ApplyResponse, error) {
		*noted = append(*noted, fmt.Sprintf("%s %d bytes, dry run %v", req.GetFileName(), len(req.GetData()), req.GetDryRun()))
		return &api.ApplyResponse{Results: []*api.ApplyResult{{
			Object: &api.Ref{Kind: "ConfigMap", Namespace: "default", Name: "a"}, Result: "created", Warnings: []string{"odd"},
		}}}, nil
	}}
}

func TestApplyNamesTheFilesInTheDaemonsFolder(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"a.yaml": configMap("a"), "sub/a.yaml": configMap("b"), "odd.txt": configMap("c")} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]string{
		"-f " + dir + " --dry-run": "a.yaml 51 bytes, dry run true|sub-a.yaml 51 bytes, dry run true",
		"-f " + dir + "/odd.txt":   "odd.txt.yaml 51 bytes, dry run false",
		"-f -":                     "configmap-prod-s.yaml 68 bytes, dry run false",
	} {
		var noted []string
		stdin := "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: prod, name: s}\n"
		out := vzctl(t, applies(&noted), stdin, append([]string{"apply"}, strings.Fields(args)...)...)
		if out.code != exitDone {
			t.Errorf("%s: %+v", args, out)
		}
		if got := strings.Join(noted, "|"); got != want {
			t.Errorf("%s: applied %q, want %q", args, got, want)
		}
	}
}

func TestApplySaysWhatBecameOfEachObject(t *testing.T) {
	var noted []string
	out := vzctl(t, applies(&noted), configMap("a"), "apply", "-f", "-", "--dry-run")
	wantOutput(t, out.stdout, "configmap/a created (dry run)\n")
	wantOutput(t, out.stderr, "Warning: configmap/a: odd\n")
}

func TestApplyOfABadManifestWritesNothing(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"a.yaml": configMap("a"), "b.yaml": "apiVersion: v1\nkind: Pot\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var noted []string
	out := vzctl(t, applies(&noted), "", "apply", "-f", dir)
	if out.code != exitFailed || len(noted) > 0 || !strings.Contains(out.stderr, "b.yaml:2:") {
		t.Errorf("%+v, applied %q", out, noted)
	}
}

func TestDeleteByNameAndByFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(configMap("a")+"---\n"+configMap("b")), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"sandbox web db --wait=false": "Sandbox/web Sandbox/db",
		"pod/web cm/s --wait=false":   "Sandbox/web ConfigMap/s",
		"-f " + file:                  "ConfigMap/a ConfigMap/b",
	} {
		var deleted []string
		b := &apitest.Backend{DeleteFunc: func(_ context.Context, req *api.DeleteRequest) (*api.DeleteResponse, error) {
			deleted = append(deleted, req.GetObject().GetKind()+"/"+req.GetObject().GetName())
			return &api.DeleteResponse{}, nil
		}}
		if out := vzctl(t, b, "", append([]string{"delete"}, strings.Fields(args)...)...); out.code != exitDone {
			t.Errorf("%s: %+v", args, out)
		}
		if got := strings.Join(deleted, " "); got != want {
			t.Errorf("%s: deleted %q, want %q", args, got, want)
		}
	}
}

func TestDeleteWaitsUntilTheVMIsGone(t *testing.T) {
	web := webJSON(t, 0, nil)
	b := watches(change{api.WatchResponse_ADDED, web}, change{})
	b.DeleteFunc = func(context.Context, *api.DeleteRequest) (*api.DeleteResponse, error) {
		return &api.DeleteResponse{File: "/m/web.yaml"}, nil
	}
	if out := vzctl(t, b, "", "delete", "sandbox", "web", "--timeout=50ms"); out.code != exitTimedOut {
		t.Errorf("%+v", out)
	}
	b.WatchFunc = watches(change{api.WatchResponse_ADDED, web}, change{}, change{api.WatchResponse_DELETED, web}).WatchFunc
	if out := vzctl(t, b, "", "delete", "sandbox", "web"); out.code != exitDone || out.stdout != "sandbox/web deleted\n" {
		t.Errorf("%+v", out)
	}
}

func TestDeleteOfWhatIsNotThere(t *testing.T) {
	b := &apitest.Backend{DeleteFunc: func(context.Context, *api.DeleteRequest) (*api.DeleteResponse, error) {
		return nil, fmt.Errorf("ConfigMap default/a: %w", drivers.ErrNotFound)
	}}
	if out := vzctl(t, b, "", "delete", "cm", "a"); out.code != exitNotFound {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "delete", "cm", "a", "--ignore-not-found"); out.code != exitDone || out.stderr != "" {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "delete", "sandboxes"); out.code != exitUsage {
		t.Errorf("all sandboxes would be deleted: %+v", out)
	}
}

func TestDescribe(t *testing.T) {
	b := holds(webJSON(t, 30*time.Minute, func(m map[string]any) {
		unsynced(m)
		status(m)["observedGeneration"] = 1
		status(m)["containerStatuses"].([]any)[0].(map[string]any)["lastState"] = map[string]any{"terminated": map[string]any{
			"exitCode": 137, "signal": 9, "reason": "OOMKilled", "finishedAt": time.Now().Add(-30 * time.Minute).UTC().Format(time.RFC3339),
		}}
		delete(m["metadata"].(map[string]any), "creationTimestamp")
	}))
	b.EventsFunc = func(_ context.Context, _ *api.EventsRequest, send func(*api.Event) error) error {
		return send(&api.Event{LastTime: timestamppb.New(time.Now().Add(-30 * time.Minute)), Count: 1, Type: "Normal", Reason: "Ready", Message: "every container runs"})
	}
	out := vzctl(t, b, "", "describe", "web")
	if out.code != exitDone {
		t.Fatalf("%+v", out)
	}
	for _, want := range []string{
		"Name:        web\nNamespace:   default\nKind:        Sandbox (vzreconciler.dev/v1alpha1)\nLabels:      app=web\n",
		"Source:      /m/web.yaml:1:1\n",
		"Generation:  2 (what runs is of 1)\n",
		"VM:\n  CPUs:    2\n  Memory:  512Mi\n",
		"  Accelerator:     tcg\n",
		"Containers:\n  main:\n    Image:       docker.io/library/busybox:1\n",
		"Terminated: OOMKilled, exit code 137, signal 9, ",
		"(30m ago)\n",
		"    Restarts:    3\n",
		"Conditions:\n  TYPE    STATUS  AGE  REASON   MESSAGE\n  Ready   True    30m  Running\n",
		`  Synced  False   30m  Invalid  /m/web.yaml:4:9: spec.vm.cpu: unknown field (did you mean "cpus"?)` + "\n",
		"Events:\n  TYPE    REASON  AGE  MESSAGE\n  Normal  Ready   30m  every container runs\n",
	} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("the description has no %q:\n%s", want, out.stdout)
		}
	}
	for line := range strings.Lines(out.stdout) {
		if strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") {
			t.Errorf("blanks at the end of %q", line)
		}
	}
}

func TestDescribeShowsNoSecrets(t *testing.T) {
	b := holds([]byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"default"},"type":"Opaque","data":{"token":"c2VzYW1l"}}`))
	b.EventsFunc = func(context.Context, *api.EventsRequest, func(*api.Event) error) error { return nil }
	out := vzctl(t, b, "", "describe", "secret", "s")
	if !strings.Contains(out.stdout, "token:  6 bytes") || strings.Contains(out.stdout, "sesame") || strings.Contains(out.stdout, "c2VzYW1l") {
		t.Errorf("%+v", out)
	}
}
