package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// change is a step of a watch; an empty one is SYNCED.
type change struct {
	typ    api.WatchResponse_Type
	object json.RawMessage
}

// watches returns a backend whose watch sends these changes, then nothing more.
func watches(changes ...change) *apitest.Backend {
	return &apitest.Backend{
		WatchFunc: func(ctx context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
			for _, c := range changes {
				typ := c.typ
				if typ == api.WatchResponse_TYPE_UNSPECIFIED {
					typ = api.WatchResponse_SYNCED
				}
				if err := send(&api.WatchResponse{Type: typ, Object: c.object}); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return ctx.Err()
		},
	}
}

func TestWait(t *testing.T) {
	ready := webJSON(t, 0, nil)
	notReady := webJSON(t, 0, func(m map[string]any) {
		status(m)["phase"] = "Pending"
		status(m)["containerStatuses"] = nil
		status(m)["conditions"] = []any{condition("Ready", "False", "NoKernel", "no kernel: run vzctl kernel install")}
	})
	outdated := webJSON(t, 0, func(m map[string]any) {
		c := condition("Ready", "True", "Running", "")
		c["observedGeneration"] = 1
		status(m)["conditions"] = []any{c}
	})
	named := func(object json.RawMessage, name string) json.RawMessage {
		return json.RawMessage(strings.Replace(string(object), `"name":"web"`, `"name":"`+name+`"`, 1))
	}
	const (
		added    = api.WatchResponse_ADDED
		modified = api.WatchResponse_MODIFIED
		deleted  = api.WatchResponse_DELETED
	)
	synced := change{}

	for name, test := range map[string]struct {
		changes []change
		args    string
		want    int
		stdout  string
		stderr  string
	}{
		"already so":                     {[]change{{added, ready}, synced}, "web", exitDone, "sandbox/web condition met\n", ""},
		"becomes so":                     {[]change{{added, notReady}, synced, {modified, ready}}, "sandbox/web", exitDone, "sandbox/web condition met\n", ""},
		"is not there yet":               {[]change{synced, {added, ready}}, "web", exitDone, "sandbox/web condition met\n", ""},
		"a condition of before the edit": {[]change{{added, outdated}, synced, {modified, ready}}, "web", exitDone, "sandbox/web condition met\n", ""},
		"false is wanted":                {[]change{{added, notReady}, synced}, "web --for=condition=ready=false", exitDone, "sandbox/web condition met\n", ""},
		"a field has a value":            {[]change{{added, notReady}, synced, {modified, ready}}, "web --for=jsonpath={.status.phase}=Running", exitDone, "sandbox/web condition met\n", ""},
		"a number":                       {[]change{{added, ready}, synced}, "web --for=jsonpath={.metadata.generation}=2", exitDone, "sandbox/web condition met\n", ""},
		"a field is there":               {[]change{{added, notReady}, synced, {modified, ready}}, "web --for=jsonpath={.status.containerStatuses[0].name}", exitDone, "sandbox/web condition met\n", ""},
		"without braces":                 {[]change{{added, ready}, synced}, "web --for=jsonpath=.status.phase=Running", exitDone, "sandbox/web condition met\n", ""},
		"to be there":                    {[]change{synced, {added, notReady}}, "web --for=create", exitDone, "sandbox/web condition met\n", ""},
		"to be gone":                     {[]change{{added, ready}, synced, {deleted, ready}}, "web --for=delete", exitDone, "sandbox/web deleted\n", ""},
		"is gone already":                {[]change{synced}, "sandbox web --for=delete", exitDone, "", ""},
		"all":                            {[]change{{added, ready}, {added, named(notReady, "db")}, synced, {modified, named(ready, "db")}}, "sandbox --all", exitDone, "sandbox/web condition met\nsandbox/db condition met\n", ""},
		"all, of which there are none":   {[]change{synced, {added, ready}}, "sandbox --all", exitDone, "sandbox/web condition met\n", ""},
		"none is left":                   {[]change{{added, ready}, synced, {deleted, ready}}, "sandbox --all --for=delete", exitDone, "sandbox/web deleted\n", ""},
		"several":                        {[]change{{added, ready}, synced, {added, named(ready, "db")}}, "sandbox web db", exitDone, "sandbox/web condition met\nsandbox/db condition met\n", ""},
		"time is up, and why": {
			[]change{{added, notReady}, synced},
			"web --timeout=1s", exitTimedOut, "",
			"vzctl: timed out waiting for Ready=True: sandbox/web is Pending: no kernel: run vzctl kernel install\n",
		},
		"one of two is missing": {
			[]change{{added, ready}, synced},
			"sandbox web db --timeout=1s", exitTimedOut, "sandbox/web condition met\n",
			"vzctl: timed out waiting for Ready=True: sandbox/db is not there\n",
		},
		"not gone in time": {
			[]change{{added, ready}, synced},
			"web --for=delete --timeout=1s", exitTimedOut, "",
			"vzctl: timed out waiting for their removal: sandbox/web is Running\n",
		},
		"looked at once": {
			[]change{{added, notReady}, synced, {modified, ready}},
			"web --timeout=0", exitTimedOut, "",
			"vzctl: timed out waiting for Ready=True: sandbox/web is Pending: no kernel: run vzctl kernel install\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := vzctl(t, watches(test.changes...), "", append([]string{"wait"}, strings.Fields(test.args)...)...)
			if out.code != test.want {
				t.Errorf("exit code %d, want %d", out.code, test.want)
			}
			wantOutput(t, out.stdout, test.stdout)
			wantOutput(t, out.stderr, test.stderr)
		})
	}
}

func TestWaitForADaemonThatDoesNotAnswerInTime(t *testing.T) {
	out := vzctl(t, watches(), "", "wait", "web", "--for=delete", "--timeout=50ms")
	if out.code != exitTimedOut || out.stderr != "vzctl: timed out waiting for their removal: the daemon has not told yet what there is\n" {
		t.Errorf("%+v", out)
	}
}
