package edit

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

const aSet = `# the set
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 2 # enough
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "example.com/a:1"}
`

var setKey = manifests.Key{Kind: manifests.KindStatefulSet, Namespace: "default", Name: "web"}

func TestSetReplacesAWordWhereItStands(t *testing.T) {
	file := configMap("a", "1") + "---\n" + aSet + "---\n" + configMap("b", "2")
	got, document, err := Set("f.yaml", []byte(file), setKey, []string{"spec", "replicas"}, Number(5))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(file, "replicas: 2", "replicas: 5", 1); string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if want := "---\n" + strings.Replace(aSet, "replicas: 2", "replicas: 5", 1); string(document) != want {
		t.Errorf("document %s\nwant %s", document, want)
	}
}

func TestSetAddsAFieldAndKeepsComments(t *testing.T) {
	without := strings.Replace(aSet, "  replicas: 2 # enough\n", "", 1)
	got, _, err := Set("f.yaml", []byte(without), setKey, []string{"spec", "replicas"}, Number(5))
	if err != nil {
		t.Fatal(err)
	}
	objects, errs := manifests.Parse("f.yaml", got)
	if len(errs) > 0 || *objects[0].StatefulSet.Spec.Replicas != 5 || !strings.HasPrefix(string(got), "# the set\n") {
		t.Errorf("%v\n%s", errs, got)
	}
}

func TestSetReplacesABlock(t *testing.T) {
	template := json.RawMessage(`{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"main","image":"example.com/a:0","command":["sh","-c","echo 1\n"]}]}}`)
	got, _, err := Set("f.yaml", []byte(aSet), setKey, []string{"spec", "template"}, template)
	if err != nil {
		t.Fatal(err)
	}
	objects, errs := manifests.Parse("f.yaml", got)
	if len(errs) > 0 {
		t.Fatalf("%v\n%s", errs[0], got)
	}
	c := objects[0].StatefulSet.Spec.Template.Spec.Containers[0]
	if c.Image != "example.com/a:0" || c.Command[2] != "echo 1\n" || !strings.Contains(string(got), "replicas: 2 # enough\n") {
		t.Errorf("%s", got)
	}
}

// What stays the same keeps its place, style and comments.
func TestSetChangesNoMoreThanNeedBe(t *testing.T) {
	for name, text := range map[string]string{
		"compact":  aSet,
		"indented": strings.Replace(aSet, "      - {name", "        - {name", 1),
	} {
		text = strings.Replace(text, "    spec:\n", "    spec:\n      # how long it may take\n      terminationGracePeriodSeconds: 2\n", 1)
		template := json.RawMessage(`{"spec":{"containers":[{"image":"example.com/a:0","name":"main"}],"terminationGracePeriodSeconds":2},"metadata":{"labels":{"app":"web"}}}`)
		got, _, err := Set("f.yaml", []byte(text), setKey, []string{"spec", "template"}, template)
		if want := strings.Replace(text, "a:1", "a:0", 1); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v\nwant %s", name, got, err, want)
		}
	}
}

func TestSetRefusesWhatItCannotTellApart(t *testing.T) {
	for name, text := range map[string]string{
		"twice":     aSet + "---\n" + aSet,
		"not there": configMap("a", "1"),
	} {
		if _, _, err := Set("f.yaml", []byte(text), setKey, []string{"spec", "replicas"}, Number(5)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The patch is one that git takes.
func TestPatchIsGits(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git here")
	}
	for name, texts := range map[string][2]string{
		"a word":     {aSet, strings.Replace(aSet, "replicas: 2", "replicas: 5", 1)},
		"the first":  {aSet, strings.Replace(aSet, "# the set\n", "", 1)},
		"the last":   {aSet, aSet + "# more\n"},
		"no newline": {strings.TrimSuffix(aSet, "\n"), strings.Replace(aSet, "replicas: 2", "replicas: 5", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f.yaml")
			if err := os.WriteFile(path, []byte(texts[0]), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), git, "apply", "-")
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(Patch("f.yaml", []byte(texts[0]), []byte(texts[1])))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s\n%s", err, out, Patch("f.yaml", []byte(texts[0]), []byte(texts[1])))
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != texts[1] {
				t.Errorf("got %s, %v\nwant %s", got, err, texts[1])
			}
		})
	}
	if p := Patch("f.yaml", []byte(aSet), []byte(aSet)); p != "" {
		t.Errorf("a patch of nothing: %q", p)
	}
}
