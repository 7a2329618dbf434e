package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

const sampleCommit = "0123456789abcdef0123456789abcdef01234567"

func fromGit(m map[string]any) {
	status(m)["source"] = map[string]any{
		"file": "https://h/r.git#main:web.yaml", "line": 1, "column": 1, "repository": "https://h/r.git", "branch": "main",
		"commit": sampleCommit, "author": "Ann <ann@example.com>", "signer": "ann@example.com",
		"time": time.Now().Add(-30 * time.Minute).UTC().Format(time.RFC3339),
	}
}

func TestTheCommitIsShown(t *testing.T) {
	b := holds(webJSON(t, 30*time.Minute, fromGit))
	b.EventsFunc = func(context.Context, *api.EventsRequest, func(*api.Event) error) error { return nil }
	out := vzctl(t, b, "", "describe", "web")
	for _, want := range []string{
		"Source:      https://h/r.git#main:web.yaml:1:1\n", "Commit:      " + sampleCommit + "\n",
		"Author:      Ann <ann@example.com>\n", "(30m ago)\nSigned by:   ann@example.com\n",
	} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("the description has no %q:\n%s", want, out.stdout)
		}
	}
	if out := vzctl(t, b, "", "get", "sandbox", "web", "-o", "wide"); !strings.Contains(out.stdout, "  https://h/r.git#main:web.yaml:1:1@0123456") {
		t.Errorf("the wide table is\n%s", out.stdout)
	}
	if out := vzctl(t, b, "", "get", "sandbox", "web", "-o", "jsonpath={.status.source.commit}"); out.stdout != sampleCommit {
		t.Errorf("the commit is %q", out.stdout)
	}
}

func TestStatusTellsOfEachSource(t *testing.T) {
	b := &apitest.Backend{StatusFunc: func(context.Context) (*api.StatusResponse, error) {
		return &api.StatusResponse{Sources: []*api.SourceStatus{
			{Name: "directory", LastSync: timestamppb.New(time.Now().Add(-30 * time.Minute))},
			{Name: "https://h/r.git#main", Commit: sampleCommit, Author: "Ann <ann@example.com>", Message: "commit abc is not taken"},
		}}, nil
	}}
	out := vzctl(t, b, "", "system", "status")
	const want = `Sources:
  directory             seen 30m ago
  https://h/r.git#main  never seen completely  commit 0123456 by Ann <ann@example.com>
    Problem:            commit abc is not taken
`
	if !strings.Contains(out.stdout, want) {
		t.Errorf("the status is\n%s", out.stdout)
	}
}
