package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

const document = "# about settings\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: one}\n"

// editWith runs vzctl edit with an editor that is a shell script: $1 is the file.
func editWith(t *testing.T, b *apitest.Backend, script string) outcome {
	t.Helper()
	dir := t.TempDir()
	editor := filepath.Join(dir, "an editor.sh")
	if err := os.WriteFile(editor, []byte("#!/bin/sh\nset -eu\ncd '"+dir+"'\n"+script+"\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	_, socket := apitest.Serve(t, b)
	var stdout, stderr bytes.Buffer
	a := &app{
		stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, stopSignals: func() {},
		getenv: func(name string) string { return map[string]string{"EDITOR": "sh '" + editor + "'"}[name] },
	}
	code := a.run(t.Context(), []string{"--socket", socket, "edit", "configmap", "settings"})
	return outcome{stdout.String(), stderr.String(), code}
}

// editable is a backend with a document, which notes what replaces it.
func editable(replaced *string, fail ...error) *apitest.Backend {
	return &apitest.Backend{
		ReadDocumentFunc: func(_ context.Context, req *api.ReadDocumentRequest) (*api.ReadDocumentResponse, error) {
			if req.GetObject().GetKind() != "ConfigMap" || req.GetObject().GetName() != "settings" {
				return nil, notFound(req.GetObject().GetName())
			}
			return &api.ReadDocumentResponse{File: "/m/all.yaml", Data: []byte(document), Version: "v1"}, nil
		},
		ReplaceDocumentFunc: func(_ context.Context, req *api.ReplaceDocumentRequest) (*api.ReplaceDocumentResponse, error) {
			if len(fail) > 0 {
				err := fail[0]
				fail = fail[1:]
				return nil, err
			}
			*replaced = string(req.GetData())
			if req.GetVersion() != "v1" {
				return nil, fmt.Errorf("version %q", req.GetVersion())
			}
			return &api.ReplaceDocumentResponse{Warnings: []string{"a warning"}}, nil
		},
	}
}

func TestEditWritesWhatWasSaved(t *testing.T) {
	var replaced string
	out := editWith(t, editable(&replaced), `grep -q '^#: configmap/settings in /m/all.yaml$' "$1"; case "$1" in */all.yaml) ;; *) exit 1;; esac; sed 's/one/two/' "$1" >x; cat x >"$1"`)
	if want := strings.Replace(document, "one", "two", 1); out.code != exitDone || replaced != want || out.stdout != "configmap/settings edited\n" ||
		out.stderr != "Warning: configmap/settings: a warning\n" {
		t.Errorf("replaced by %q: %+v", replaced, out)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "vzctl-edit-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEditOpensAgainWithTheErrors(t *testing.T) {
	var replaced string
	// The first time something is broken; then the error is looked for, at the
	// line where it stands, and mended.
	out := editWith(t, editable(&replaced, fmt.Errorf("%w: the daemon does not like it", drivers.ErrInvalidArgument)), `
if [ ! -e once ]; then touch once; sed 's/^data:/dta:/' "$1" >x; cat x >"$1"; exit; fi
if [ ! -e twice ]; then touch twice
line=$(sed -n 's/^#: line \([0-9]*\): .*dta: unknown field.*/\1/p' "$1")
sed -n "${line}p" "$1" | grep -q '^dta:'
sed 's/^dta:/data:/; s/one/two/' "$1" >x; cat x >"$1"; exit; fi
grep -q '^#: .*the daemon does not like it' "$1"; grep -q 'a: two' "$1"
sed 's/two/three/' "$1" >x; cat x >"$1"`)
	if want := strings.Replace(document, "one", "three", 1); out.code != exitDone || replaced != want {
		t.Errorf("replaced by %q: %+v", replaced, out)
	}
}

func TestEditIsCancelled(t *testing.T) {
	for name, test := range map[string]struct {
		script, stdout, stderr string
		code                   int
	}{
		"nothing changed":  {"true", "Edit cancelled: nothing changed.\n", "", exitDone},
		"emptied":          {`: >"$1"`, "Edit cancelled: the file is empty.\n", "", exitDone},
		"the editor fails": {"exit 3", "", "exit status 3: set $VISUAL or $EDITOR", exitFailed},
		"the errors stay":  {`sed 's/^data:/dta:/' "$1" >x; cat x >"$1"`, "", "the errors are still there; what you edited is in ", exitFailed},
		"another object":   {`sed 's/name: settings/name: other/' "$1" >x; cat x >"$1"`, "", "the errors are still there", exitFailed},
		"two objects":      {`printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n' >>"$1"; [ -e once ] && exit 1; touch once`, "", "exit status 1", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			replaced := ""
			out := editWith(t, editable(&replaced), test.script)
			if out.code != test.code || out.stdout != test.stdout || !strings.Contains(out.stderr, test.stderr) || replaced != "" {
				t.Errorf("replaced by %q: %+v", replaced, out)
			}
		})
	}
}

func TestEditKeepsTheTextWhenTheFileHasChanged(t *testing.T) {
	replaced := ""
	out := editWith(t, editable(&replaced, fmt.Errorf("%w: /m/all.yaml has changed meanwhile", drivers.ErrInvalidState)), `sed 's/one/two/' "$1" >x; cat x >"$1"`)
	_, path, ok := strings.Cut(strings.TrimSpace(out.stderr), "what you edited is in ")
	if out.code != exitFailed || !ok || !strings.Contains(out.stderr, "has changed meanwhile") {
		t.Fatalf("%+v", out)
	}
	if kept, err := os.ReadFile(path); err != nil || string(kept) != strings.Replace(document, "one", "two", 1) {
		t.Errorf("kept %q, %v", kept, err)
	}
}
