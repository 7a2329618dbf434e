package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

func TestExitCodes(t *testing.T) {
	failing := func(err error) *apitest.Backend {
		return &apitest.Backend{
			GetFunc: func(context.Context, *api.GetRequest) ([]json.RawMessage, error) { return nil, err },
			ExecFunc: func(context.Context, *api.ExecStart, drivers.Stdio, func(int, time.Time)) (drivers.ExitStatus, error) {
				return drivers.ExitStatus{Code: 17}, err
			},
		}
	}
	for name, test := range map[string]struct {
		backend *apitest.Backend
		args    string
		want    int
	}{
		"done":                          {holds(webJSON(t, 0, nil)), "get sandboxes", exitDone},
		"failed":                        {failing(errors.New("the disk is on fire")), "get sandboxes", exitFailed},
		"no such object":                {holds(), "get sandbox nope", exitNotFound},
		"no such object to describe":    {holds(), "describe nope", exitNotFound},
		"time is up":                    {holds(), "wait sandbox/web --timeout=50ms", exitTimedOut},
		"looked once":                   {holds(), "wait sandbox/web --timeout=0", exitTimedOut},
		"unknown verb":                  {holds(), "frobnicate", exitUsage},
		"unknown verb in a group":       {holds(), "image frobnicate", exitUsage},
		"unknown flag":                  {holds(), "get --frobnicate", exitUsage},
		"unknown kind":                  {holds(), "get frobs", exitUsage},
		"unknown output":                {holds(), "get sandboxes -o frob", exitUsage},
		"bad JSONPath":                  {holds(), "get sandboxes -o jsonpath={.a", exitUsage},
		"missing argument":              {holds(), "logs", exitUsage},
		"missing command":               {holds(), "exec web", exitUsage},
		"two sandboxes":                 {holds(), "exec a b -- true", exitUsage},
		"names and labels":              {holds(), "get sandbox web -l a=b", exitUsage},
		"apply without a file":          {holds(), "apply", exitUsage},
		"odd goal":                      {holds(), "wait web --for=frob", exitUsage},
		"wait for what":                 {holds(), "wait sandbox", exitUsage},
		"the process's own":             {failing(nil), "exec web -- false", 17},
		"exec fails":                    {failing(drivers.ErrInvalidState), "exec web -- false", exitFailed},
		"exec in what is not there":     {failing(drivers.ErrNotFound), "exec web -- false", exitNotFound},
		"what this daemon cannot do":    {&apitest.Backend{}, "image list", exitFailed},
		"a file that is not there":      {holds(), "apply -f /nonexistent.yaml", exitNotFound},
		"validate without a file":       {holds(), "validate", exitUsage},
		"kernel that is not there":      {holds(), "kernel rm nope --state-dir /nonexistent", exitNotFound},
		"version without anything else": {holds(), "--version", exitDone},
	} {
		t.Run(name, func(t *testing.T) {
			out := vzctl(t, test.backend, "", strings.Fields(test.args)...)
			if out.code != test.want {
				t.Errorf("vzctl %s: exit code %d, want %d; stderr: %s", test.args, out.code, test.want, out.stderr)
			}
			if silent := test.want == exitDone || test.want == 17; silent != (out.stderr == "") {
				t.Errorf("vzctl %s: stderr %q", test.args, out.stderr)
			}
		})
	}
}

func TestWithoutADaemonTheCodeIsFourAndTheTextSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{"get sandboxes", "exec web -- true", "stop web", "system status", "wait web", "logs web", "image list", "prune"} {
		out := command(t, "", append([]string{"--state-dir", dir}, strings.Fields(args)...)...)
		if out.code != exitUnreachable {
			t.Errorf("%s: exit code %d, want %d", args, out.code, exitUnreachable)
		}
		if !strings.Contains(out.stderr, filepath.Join(dir, "run", "vzreconciler.sock")) || !strings.Contains(out.stderr, "vzreconciler --state-dir "+dir) {
			t.Errorf("%s: %q", args, out.stderr)
		}
	}
}

func TestADaemonThatEndsInTheMiddleIsUnreachable(t *testing.T) {
	// The daemon ends by ending its context: apitest does that at the end of a
	// test, so this one has its own.
	backend := holds(webJSON(t, 0, nil))
	backend.WatchFunc = func(_ context.Context, _ *api.GetRequest, _ func(*api.WatchResponse) error) error {
		return &api.UnreachableError{Err: errors.New("gone")}
	}
	out := vzctl(t, backend, "", "wait", "web")
	if out.code != exitFailed {
		t.Errorf("an error of the daemon's own is not its absence: exit code %d", out.code)
	}
}

func TestSystemVersionWorksWithoutADaemon(t *testing.T) {
	out := command(t, "", "--state-dir", t.TempDir(), "system", "version")
	if out.code != exitDone || !strings.Contains(out.stdout, "not running") {
		t.Errorf("%+v", out)
	}
}
