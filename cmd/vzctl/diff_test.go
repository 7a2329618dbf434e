package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	gitobject "github.com/go-git/go-git/v5/plumbing/object"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
	"github.com/vzreconciler/vzreconciler/reconciler/diff"
)

func TestDiffOfFoldersShowsFieldsAndWhatTheyCost(t *testing.T) {
	out := command(t, "", "diff", "--offline", "testdata/diff/old", "testdata/diff/new")
	if out.code != 1 || out.stderr != "" {
		t.Errorf("code %d, stderr %q", out.code, out.stderr)
	}
	wantOutput(t, out.stdout, lines(
		`configmap/settings: live (testdata/diff/new/sub/web.yaml:17:1)`,
		`  data[site.conf]: live`,
		`    …`,
		`      three`,
		`      four`,
		`    - five`,
		`    + FIVE`,
		`      six`,
		`      seven`,
		``,
		`pod/old: delete (testdata/diff/old/rest.yaml:1:1)`,
		``,
		`pod/user: recreate (testdata/diff/new/rest.yaml:1:1)`,
		`  because it takes what changes from configmap/settings`,
		``,
		`pod/new in prod: create (testdata/diff/new/rest.yaml:12:1)`,
		`  cannot be built without secret/nosuch`,
		``,
		`sandbox/web: recreate (testdata/diff/new/sub/web.yaml:1:1)`,
		`  metadata.labels.tier: live`,
		`    + front`,
		`  spec.podTemplate.spec.containers[main].args[1]: recreate`,
		`    + --verbose`,
		`  spec.podTemplate.spec.containers[main].image: recreate`,
		`    - docker.io/library/busybox:1.36`,
		`    + docker.io/library/busybox:1.37`,
		`  spec.podTemplate.spec.containers[main].resources.limits: live`,
		`    + memory: 64Mi`,
		`  because it takes what changes from configmap/settings`,
		``,
		`secret/token: live (testdata/diff/new/rest.yaml:21:1)`,
		`  data[token]: live`,
		`    - <hidden>`,
		`    + <hidden>`,
		``,
		`1 to create, 4 to update (2 live, 2 recreate), 1 to delete`,
	))
}

func TestDiffForPrograms(t *testing.T) {
	out := command(t, "", "diff", "--offline", "testdata/diff/old", "testdata/diff/new", "-o", "json")
	var v struct{ Objects []diff.Object }
	if err := json.Unmarshal([]byte(out.stdout), &v); err != nil || out.code != 1 || len(v.Objects) != 6 {
		t.Fatalf("%v, code %d: %s", err, out.code, out.stdout)
	}
	if o := v.Objects[4]; o.Name != "web" || o.Class.String() != "recreate" || o.Position.Line != 1 || len(o.Fields) != 4 {
		t.Errorf("got %+v", o)
	}
	if strings.Contains(out.stdout, "sesame") {
		t.Error("a secret is shown")
	}
	out = command(t, "", "diff", "--offline", "testdata/diff/old", "testdata/diff/old", "-o", "jsonpath={.objects}")
	if out.code != exitDone || out.stdout != "[]" {
		t.Errorf("of nothing: %+v", out)
	}
}

func TestDiffForGitHub(t *testing.T) {
	out := command(t, "", "diff", "--offline", "testdata/diff/old/rest.yaml", "testdata/diff/new/rest.yaml", "-o", "github")
	wantOutput(t, out.stdout, lines(
		`::warning file=testdata/diff/old/rest.yaml,line=1,col=1,title=vzctl diff::pod/old: delete`,
		`::notice file=testdata/diff/new/rest.yaml,line=12,col=1,title=vzctl diff::pod/new in prod: create%0Acannot be built without secret/nosuch`,
		`::notice file=testdata/diff/new/rest.yaml,line=21,col=1,title=vzctl diff::secret/token: live%0Adata[token] (live)`,
		`1 to create, 1 to update (1 live), 1 to delete`,
	))
	out = command(t, "", "diff", "--offline", "testdata/validate/good.yaml", "testdata/validate/bad.yaml", "-o", "github")
	if out.code != exitTrouble || !strings.Contains(out.stdout, "::error file=testdata/validate/bad.yaml,line=10,col=9::Sandbox default/db: spec.podTemplate.spec.containers[0].imag: unknown field") {
		t.Errorf("of a broken one: %+v", out)
	}
}

func TestDiffWithoutDifferencesEndsWith0AndTroubleIsNoDifference(t *testing.T) {
	empty := t.TempDir()
	for args, want := range map[string]int{
		"--offline testdata/diff/old testdata/diff/old":            0,
		"--offline testdata/diff/old " + empty:                     1,
		"--offline testdata/validate/bad.yaml testdata/diff/old":   1, // what is broken is to be mended
		"--offline testdata/diff/old testdata/validate/bad.yaml":   2,
		"--offline testdata/diff/old nosuch":                       exitNotFound,
		"--offline testdata/diff/old":                              2,
		"--offline testdata/diff/old testdata/diff/new --git HEAD": 2,
		"--git HEAD " + empty:                                      2,
		"--git A...B":                                              2,
		"-f testdata/validate/bad.yaml --socket /nonexistent":      2,
		"-f testdata/validate/good.yaml --socket /nonexistent":     exitUnreachable,
		"": 2,
	} {
		if out := command(t, "", append([]string{"diff"}, strings.Fields(args)...)...); out.code != want {
			t.Errorf("diff %s: code %d, want %d: %s%s", args, out.code, want, out.stdout, out.stderr)
		}
	}
}

func TestDiffWithTheDaemon(t *testing.T) {
	var sent []string
	b := &apitest.Backend{DiffFunc: func(_ context.Context, files []api.File, prune bool) ([]json.RawMessage, error) {
		for _, f := range files {
			sent = append(sent, f.Name)
		}
		if !prune {
			return nil, nil
		}
		return []json.RawMessage{
			json.RawMessage(`{"kind":"Sandbox","namespace":"default","name":"web","action":"update","class":"recreate","position":{"file":"sub/web.yaml","line":1},
				"fields":[{"path":"spec.x","old":"\"a\\u001b[2J\"","new":"7","class":"recreate"}],"notes":["reconciling is suspended"]}`),
			json.RawMessage(`{"kind":"Sandbox","namespace":"default","name":"gone","action":"delete","class":"none","position":{"file":"/m/gone.yaml","line":3}}`),
		}, nil
	}}
	out := vzctl(t, b, "", "diff", "-f", "testdata/diff/new", "--prune")
	wantOutput(t, out.stdout, lines(
		`sandbox/web: recreate (testdata/diff/new/sub/web.yaml:1)`,
		`  spec.x: recreate`,
		`    - a\x1b[2J`,
		`    + 7`,
		`  reconciling is suspended`,
		``,
		`sandbox/gone: delete (/m/gone.yaml:3)`,
		``,
		`1 to update (1 recreate), 1 to delete`,
	))
	if got := strings.Join(sent, " "); got != "rest.yaml sub/web.yaml" || out.code != 1 {
		t.Errorf("sent %s, code %d", got, out.code)
	}
	sent = nil
	if out := vzctl(t, b, "", "diff", "-f", "testdata/diff/new/rest.yaml", "-f", "testdata/diff/old/web.yaml", "-f", "testdata/diff/old/../old/web.yaml"); out.code != exitTrouble {
		t.Errorf("the same object twice: %+v", out)
	}
	good, err := os.ReadFile("testdata/validate/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if out := vzctl(t, b, string(good), "diff", "-f", "-"); out.code != exitDone || out.stdout != "No differences.\n" || strings.Join(sent, " ") != "stdin.yaml" {
		t.Errorf("%+v, sent %v", out, sent)
	}
}

func TestDiffOfCommits(t *testing.T) {
	dir := t.TempDir()
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	work, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	write := func(image string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "m"), 0o700); err != nil {
			t.Fatal(err)
		}
		manifest := "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: main, image: \"" + image + "\"}]}\n"
		if err := os.WriteFile(filepath.Join(dir, "m", "web.yaml"), []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, image := range []string{"a:1", "a:2"} {
		write(image)
		if err := work.AddWithOptions(&git.AddOptions{All: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := work.Commit(image, &git.CommitOptions{Author: &gitobject.Signature{Name: "A", When: time.Unix(1800000000, 0)}}); err != nil {
			t.Fatal(err)
		}
	}
	write("a:3")
	for rev, want := range map[string]string{
		"HEAD": "a:2 a:3", "HEAD~1": "a:1 a:3", "HEAD~1..HEAD": "a:1 a:2", "HEAD..HEAD": "",
	} {
		out := command(t, "", "diff", "--git", rev, filepath.Join(dir, "m"), "-o", "json")
		var v struct{ Objects []diff.Object }
		if err := json.Unmarshal([]byte(out.stdout), &v); err != nil {
			t.Fatalf("%s: %v: %+v", rev, err, out)
		}
		got := ""
		for _, o := range v.Objects {
			got = strings.NewReplacer(`"`, "", "docker.io/library/", "").Replace(o.Fields[0].Old + " " + o.Fields[0].New)
			if o.Position.File != filepath.Join(dir, "m", "web.yaml") {
				t.Errorf("%s: at %s", rev, o.Position)
			}
		}
		if got != want || (out.code == 1) != (want != "") {
			t.Errorf("%s: got %q, want %q, code %d", rev, got, want, out.code)
		}
	}
}
