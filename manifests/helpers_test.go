package manifests

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the generated and golden files anew")

// one parses a file that must hold one valid object.
func one(t *testing.T, text string) Object {
	t.Helper()
	objects, errs := Parse("/m/x.yaml", []byte(text))
	for _, e := range errs {
		t.Errorf("%v", e)
	}
	if len(objects) != 1 {
		t.Fatalf("got %d objects, want 1, from:\n%s", len(objects), text)
	}
	return objects[0]
}

// messages parses a file that must hold no valid object and returns its errors.
func messages(t *testing.T, text string) []string {
	t.Helper()
	objects, errs := Parse("x.yaml", []byte(text))
	if len(objects) > 0 {
		t.Errorf("got an object from a bad document:\n%s", text)
	}
	return texts(errs)
}

func texts(errs []*Error) []string {
	out := make([]string, len(errs))
	for i, e := range errs {
		out[i] = e.Error()
	}
	return out
}

// sandboxWith returns a Sandbox's manifest with lines in place of the marks; a
// mark without lines is left out.
func sandboxWith(parts map[string]string) string {
	const template = `apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: web}
spec:
<spec>
  podTemplate:
    spec:
<pod>
      containers:
      - name: main
        image: docker.io/library/busybox:1.36
<container>
`
	text := template
	for _, mark := range []string{"spec", "pod", "container"} {
		indent := map[string]string{"spec": "  ", "pod": "      ", "container": "        "}[mark]
		var lines strings.Builder
		for line := range strings.SplitSeq(strings.TrimSpace(parts[mark]), "\n") {
			if line != "" {
				lines.WriteString(indent + line + "\n")
			}
		}
		text = strings.Replace(text, "<"+mark+">\n", lines.String(), 1)
	}
	return text
}

// golden compares with a file under testdata, or writes it with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make it with: go generate ./manifests", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is out of date; look at the difference, then: go generate ./manifests\n%s", path, diff)
	}
}
