package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func TestValidateShowsEveryErrorWithItsLine(t *testing.T) {
	out := command(t, "", "validate", "-f", "testdata/validate/good.yaml", "-f", "testdata/validate/bad.yaml")
	if out.code != exitFailed || out.stderr != "" {
		t.Errorf("code %d, stderr %q", out.code, out.stderr)
	}
	wantOutput(t, out.stdout, lines(
		`testdata/validate/bad.yaml:10:9: Sandbox default/db: spec.podTemplate.spec.containers[0].imag: unknown field (did you mean "image"?)`,
		`   10 |         imag: docker.io/library/busybox:1`,
		`      |         ^`,
		`testdata/validate/bad.yaml:14:1: ConfigMap default/settings: is already in testdata/validate/good.yaml:1:1`,
		`   14 | apiVersion: v1`,
		`      | ^`,
		`testdata/validate/good.yaml:15:7: Sandbox default/web: warning: spec.podTemplate.spec.nodeSelector: has no effect here: there is one host and no scheduler`,
		`testdata/validate/good.yaml:1:1: ConfigMap default/settings is valid`,
		`testdata/validate/good.yaml:8:1: Sandbox default/web is valid`,
	))
}

func TestValidateOfGoodManifestsSucceeds(t *testing.T) {
	good, err := os.ReadFile("testdata/validate/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-f", "testdata/validate/good.yaml"}, {"testdata/validate/good.yaml"}, {"-f", "-"}} {
		out := command(t, string(good), append([]string{"validate"}, args...)...)
		if out.code != exitDone || !strings.Contains(out.stdout, "Sandbox default/web is valid") {
			t.Errorf("%v: %+v", args, out)
		}
	}
}

func TestValidateJSON(t *testing.T) {
	out := command(t, "", "validate", "-f", "testdata/validate", "-o", "json")
	var v struct {
		Valid            bool
		Objects          []struct{ Kind, Name string }
		Errors, Warnings []struct {
			File, Object, Field, Message, Suggestion string
			Line, Column                             int
		}
	}
	if err := json.Unmarshal([]byte(out.stdout), &v); err != nil {
		t.Fatalf("%v: %s", err, out.stdout)
	}
	if out.code != exitFailed || v.Valid || len(v.Objects) != 2 || len(v.Errors) != 2 || len(v.Warnings) != 1 {
		t.Fatalf("code %d: %s", out.code, out.stdout)
	}
	e := v.Errors[0]
	if e.File != "testdata/validate/bad.yaml" || e.Line != 10 || e.Column != 9 || e.Field != "spec.podTemplate.spec.containers[0].imag" || e.Suggestion != "image" {
		t.Errorf("error %+v", e)
	}
	if w := v.Warnings[0]; w.Line != 15 || w.Column != 7 || strings.Contains(w.Message, "good.yaml") {
		t.Errorf("warning %+v", w)
	}
}

func TestValidateMakesControlCharactersVisible(t *testing.T) {
	out := command(t, "apiVersion: v1\nkind: \"Pod\\e[31m\"\nmetadata: {name: x}\n", "validate", "-f", "-")
	if out.code != exitFailed || strings.Contains(out.stdout, "\x1b") {
		t.Errorf("%+v", out)
	}
}

func TestValidateOfADirectoryLeavesEditorsFilesAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"web.yaml~", ".web.yaml.swp", "notes.txt", ".git/config.yaml"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("\tnot: [yaml"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := command(t, "", "validate", dir); out.code != exitFailed || !strings.Contains(out.stderr, "no manifests in "+dir) {
		t.Errorf("a directory without manifests: %+v", out)
	}
	if err := os.MkdirAll(filepath.Join(dir, "deep", "er"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "deep", "er", "a.json"), []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := command(t, "", "validate", dir); out.code != exitDone || !strings.Contains(out.stdout, "ConfigMap default/a is valid") {
		t.Errorf("%+v", out)
	}
}

func TestAFileTooLargeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(path, make([]byte, manifests.MaxFileBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := command(t, "", "validate", path); out.code != exitFailed || !strings.Contains(out.stderr, "larger than 4 MiB") {
		t.Errorf("%+v", out)
	}
}

func TestValidateNamesCyclesAcrossFiles(t *testing.T) {
	dir := t.TempDir()
	for name, on := range map[string]string{"a": "b", "b": "a", "c": "a"} {
		text := "apiVersion: vzreconciler.dev/v1alpha1\nkind: Sandbox\nmetadata: {name: " + name + "}\nspec:\n  dependsOn: [{name: " + on + "}]\n" +
			"  podTemplate: {spec: {containers: [{name: a, image: b}]}}\n"
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := command(t, "", "validate", "-f", dir)
	for _, want := range []string{
		"a.yaml:5:15: Sandbox default/a: spec.dependsOn: the sandboxes wait for each other, and none could start: a → b → a\n",
		"b.yaml:5:15: Sandbox default/b: spec.dependsOn: the sandboxes wait for each other, and none could start: b → a → b\n",
		"Sandbox default/c is valid\n",
	} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("no %q in\n%s", want, out.stdout)
		}
	}
	if out.code != exitFailed || strings.Count(out.stdout, "is valid") != 1 {
		t.Errorf("code %d, %s", out.code, out.stdout)
	}
}

func TestValidateForGitHub(t *testing.T) {
	out := command(t, "", "validate", "-f", "testdata/validate", "-o", "github")
	if out.code != exitFailed {
		t.Errorf("code %d", out.code)
	}
	wantOutput(t, out.stdout, lines(
		`::error file=testdata/validate/bad.yaml,line=10,col=9,title=vzctl validate::Sandbox default/db: spec.podTemplate.spec.containers[0].imag: unknown field (did you mean "image"?)`,
		`::error file=testdata/validate/good.yaml,line=1,col=1,title=vzctl validate::ConfigMap default/settings: is already in testdata/validate/bad.yaml:14:1`,
		`::warning file=testdata/validate/good.yaml,line=15,col=7,title=vzctl validate::Sandbox default/web: spec.podTemplate.spec.nodeSelector: has no effect here: there is one host and no scheduler`,
		`2 valid, 2 errors, 1 warnings`,
	))
	out = command(t, "", "validate", "-f", "testdata/validate/good.yaml", "-o", "github")
	if out.code != exitDone {
		t.Errorf("of good ones: %+v", out)
	}
}

func TestAnnotationsCannotBeBrokenOutOf(t *testing.T) {
	if got := annotationMessage("a%\n::error::b\r"); got != "a%25%0A::error::b%0D" {
		t.Errorf("message %q", got)
	}
	if got := annotationProperty("a,b:c\n"); got != "a%2Cb%3Ac%0A" {
		t.Errorf("property %q", got)
	}
}

func TestValidateDecryptsSecretsIfItHasTheKey(t *testing.T) {
	const fixtures = "../../manifests/testdata/sops/"
	key, err := os.ReadFile(fixtures + "age.key")
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "age.key")
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		t.Fatal(err)
	}
	secret := fixtures + "secret.yaml"
	out := command(t, "", "validate", "-f", secret)
	wantOutput(t, out.stdout, secret+":2:1: Secret prod/db is valid as far as can be seen: its values are encrypted\n")
	out = command(t, "", "validate", "-f", secret, "--sops-age-key-file", keyFile)
	wantOutput(t, out.stdout, secret+":2:1: Secret prod/db is valid\n")
	if err := os.Chmod(keyFile, 0o644); err != nil { //nolint:gosec // which is what is refused
		t.Fatal(err)
	}
	out = command(t, "", "validate", "-f", secret, "--sops-age-key-file", keyFile)
	if out.code != exitFailed || !strings.Contains(out.stderr, "chmod 600") {
		t.Errorf("%+v", out)
	}
}

func TestValidateQuotesNoLineOfASecret(t *testing.T) {
	out := command(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {token: hunter2}\n", "validate", "-f", "-")
	if out.code != exitFailed || !strings.Contains(out.stdout, "not base64") || strings.Contains(out.stdout, "hunter2") {
		t.Errorf("%+v", out)
	}
}
