package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// twoContainers is a sandbox of two.
func twoContainers(m map[string]any) {
	spec := m["spec"].(map[string]any)["podTemplate"].(map[string]any)["spec"].(map[string]any)
	spec["containers"] = []any{
		map[string]any{"name": "main", "image": "example.com/app:1"},
		map[string]any{"name": "side", "image": "example.com/app:1"},
	}
}

func entry(stream, tag, text string) string {
	return fmt.Sprintf("2026-11-23T17:51:18.123456789Z %s %s %s\n", stream, tag, text)
}

func TestLogsOfSeveralContainersHaveTheirNamesBeforeWholeLines(t *testing.T) {
	b := holds(webJSON(t, time.Hour, twoContainers))
	b.LogsFunc = func(_ context.Context, req *api.LogsRequest, send func([]byte) error) error {
		name := req.GetContainer()
		return send([]byte(entry("stdout", "P", "one ") + entry("stderr", "F", "error of "+name) +
			entry("stdout", "F", "line of "+name) + entry("stdout", "P", "no end")))
	}
	out := vzctl(t, b, "", "logs", "web", "--all-containers")
	wantOutput(t, out.stdout, lines(
		"[sandbox/web/main] one line of main", "[sandbox/web/main] no end",
		"[sandbox/web/side] one line of side", "[sandbox/web/side] no end",
	))
	wantOutput(t, out.stderr, lines("[sandbox/web/main] error of main", "[sandbox/web/side] error of side"))
	out = vzctl(t, b, "", "logs", "web", "--all-containers", "--prefix=false")
	wantOutput(t, out.stdout, "one line of main\nno endone line of side\nno end")
	if out = vzctl(t, b, "", "logs", "web", "-c", "side"); strings.Contains(out.stdout, "[") {
		t.Errorf("the log of one has a prefix: %q", out.stdout)
	}
}

func TestFollowedLogsComeAtOnceAndKeepTheirLinesApart(t *testing.T) {
	const count = 500
	b := holds(webJSON(t, time.Hour, twoContainers))
	var together sync.WaitGroup
	together.Add(2) // neither goes on before the other is there
	b.LogsFunc = func(_ context.Context, req *api.LogsRequest, send func([]byte) error) error {
		together.Done()
		together.Wait()
		for range count {
			text := entry("stdout", "P", req.GetContainer()) + entry("stdout", "F", "!")
			for _, part := range []string{text[:20], text[20:]} {
				if err := send([]byte(part)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	out := vzctl(t, b, "", "logs", "-f", "web", "--all-containers")
	got := strings.Split(strings.TrimSpace(out.stdout), "\n")
	slices.Sort(got)
	want := slices.Concat(slices.Repeat([]string{"[sandbox/web/main] main!"}, count), slices.Repeat([]string{"[sandbox/web/side] side!"}, count))
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines, from %q to %q", len(got), got[0], got[len(got)-1])
	}
}

func TestLogsAskForWhatTheFlagsSay(t *testing.T) {
	var asked *api.LogsRequest
	b := &apitest.Backend{LogsFunc: func(_ context.Context, req *api.LogsRequest, _ func([]byte) error) error {
		asked = req
		return nil
	}}
	out := vzctl(t, b, "", "logs", "web", "-p", "--tail=3", "--since-time=2026-11-23T17:51:18Z")
	if out.code != exitDone || !asked.GetPrevious() || asked.GetTail() != 3 || asked.GetSince().AsTime().Unix() != 1795456278 {
		t.Errorf("%+v: asked for %v", out, asked)
	}
	for _, args := range [][]string{
		{"--since=1m", "--since-time=2026-11-23T17:51:18Z"},
		{"--since-time=1m"},
		{"-c", "main", "--all-containers"},
		{"--console", "--previous"},
	} {
		if out := vzctl(t, b, "", append([]string{"logs", "web"}, args...)...); out.code != exitUsage {
			t.Errorf("%v: %+v", args, out)
		}
	}
}
