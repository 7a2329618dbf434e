package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// mainEnv makes the test binary be vzctl, for tests that need a process.
const mainEnv = "VZCTL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		main()
	}
	code := m.Run()
	if leftBehind != "" {
		_ = os.RemoveAll(leftBehind)
	}
	os.Exit(code)
}

// outcome is what a command line came to.
type outcome struct {
	stdout, stderr string
	code           int
}

// vzctl runs a command line against a backend.
func vzctl(t *testing.T, b *apitest.Backend, stdin string, args ...string) outcome {
	t.Helper()
	_, socket := apitest.Serve(t, b)
	return command(t, stdin, append([]string{"--socket", socket}, args...)...)
}

// command runs a command line.
func command(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr,
		getenv: func(string) string { return "" }, stopSignals: func() {},
	}
	code := a.run(t.Context(), args)
	return outcome{stdout.String(), stderr.String(), code}
}

// lines makes expected output legible in a test: the indentation goes.
func lines(text ...string) string { return strings.Join(text, "\n") + "\n" }

func wantOutput(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// webJSON is a sandbox as the daemon sends it, made so long ago.
func webJSON(t *testing.T, age time.Duration, change func(m map[string]any)) json.RawMessage {
	t.Helper()
	m := map[string]any{
		"apiVersion": "vzreconciler.dev/v1alpha1", "kind": "Sandbox",
		"metadata": map[string]any{
			"name": "web", "namespace": "default", "generation": 2, "uid": "u-1",
			"creationTimestamp": time.Now().Add(-age).UTC().Format(time.RFC3339),
			"labels":            map[string]any{"app": "web"},
		},
		"spec": map[string]any{
			"podTemplate": map[string]any{"spec": map[string]any{"containers": []any{
				map[string]any{"name": "main", "image": "docker.io/library/busybox:1"},
			}}},
			"vm": map[string]any{"cpus": 2, "memory": "512Mi"},
		},
		"status": map[string]any{
			"observedGeneration": 2, "phase": "Running",
			"conditions": []any{condition("Ready", "True", "Running", ""), condition("Synced", "True", "Applied", "")},
			"containerStatuses": []any{map[string]any{
				"name": "main", "ready": true, "restartCount": 3, "image": "docker.io/library/busybox:1", "imageID": "sha256:abc",
				"state": map[string]any{"running": map[string]any{"startedAt": time.Now().UTC().Format(time.RFC3339)}},
			}},
			"runtime": map[string]any{"name": "qemu", "accelerator": "tcg", "hypervisorPID": 4711},
			"source":  map[string]any{"file": "/m/web.yaml", "line": 1, "column": 1},
		},
	}
	if change != nil {
		change(m)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func condition(typ, status, reason, message string) map[string]any {
	return map[string]any{
		"type": typ, "status": status, "reason": reason, "message": message,
		"lastTransitionTime": time.Now().Add(-30 * time.Minute).UTC().Format(time.RFC3339),
	}
}

func status(m map[string]any) map[string]any { return m["status"].(map[string]any) }

// unsynced is a manifest broken while its sandbox runs.
func unsynced(m map[string]any) {
	status(m)["conditions"] = []any{
		condition("Ready", "True", "Running", ""),
		condition("Synced", "False", "Invalid", `/m/web.yaml:4:9: spec.vm.cpu: unknown field (did you mean "cpus"?)`),
	}
}

// holds returns a backend with these objects, all of which fit any request.
func holds(objects ...json.RawMessage) *apitest.Backend {
	return &apitest.Backend{
		StatusFunc: func(context.Context) (*api.StatusResponse, error) { return &api.StatusResponse{}, nil },
		GetFunc: func(_ context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
			if len(objects) == 0 && len(req.GetNames()) > 0 {
				return nil, notFound(req.GetNames()[0])
			}
			return objects, nil
		},
		WatchFunc: func(ctx context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
			for _, o := range objects {
				if err := send(&api.WatchResponse{Type: api.WatchResponse_ADDED, Object: o}); err != nil {
					return err
				}
			}
			if err := send(&api.WatchResponse{Type: api.WatchResponse_SYNCED}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		},
	}
}

type notFound string

func (n notFound) Error() string { return "sandbox " + string(n) + " not found" }
func (n notFound) Unwrap() error { return drivers.ErrNotFound }
