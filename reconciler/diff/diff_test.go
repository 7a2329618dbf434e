package diff

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func sandbox(name, image, more string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: main, image: example.com/%s%s}]}\n", name, image, more)
}

func configMap(name, data string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {%s}\n", name, data)
}

func secret(name, data string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {%s}\n", name, data)
}

func parse(t *testing.T, text string) []manifests.Object {
	t.Helper()
	objects, errs := manifests.Parse("m.yaml", []byte(text))
	for _, err := range errs {
		t.Fatal(err)
	}
	return objects
}

// short sums a result up: one line for each object.
func short(objects []Object) string {
	var b strings.Builder
	for _, o := range objects {
		fmt.Fprintf(&b, "%s %s/%s", o.Action, o.Kind, o.Name)
		if o.Action == Update {
			fmt.Fprintf(&b, " (%s)", o.Class)
		}
		for _, f := range o.Fields {
			fmt.Fprintf(&b, " %s %s>%s", f.Path, f.Old, f.New)
		}
		if len(o.Because) > 0 {
			fmt.Fprintf(&b, " because %v", o.Because)
		}
		if len(o.Missing) > 0 {
			fmt.Fprintf(&b, " missing %v", o.Missing)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestBetween(t *testing.T) {
	const envFrom = ", envFrom: [{configMapRef: {name: settings}}]"
	const oneKey = ", env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: a}}}]"
	const token = ", env: [{name: T, valueFrom: {secretKeyRef: {name: s, key: token}}}]"
	for name, test := range map[string]struct{ from, to, want string }{
		"nothing": {sandbox("web", "a:1", ""), sandbox("web", "a:1", ""), ""},
		"come and gone": {
			sandbox("old", "a:1", "") + configMap("kept", "a: b"), sandbox("new", "a:1", "") + configMap("kept", "a: b"),
			"create Pod/new\ndelete Pod/old\n",
		},
		"an image": {
			sandbox("web", "a:1", ""), sandbox("web", "a:2", ""),
			"update Pod/web (recreate) spec.podTemplate.spec.containers[main].image \"example.com/a:1\">\"example.com/a:2\"\n",
		},
		"a ConfigMap in use": {
			sandbox("web", "a:1", envFrom) + configMap("settings", "a: b"), sandbox("web", "a:1", envFrom) + configMap("settings", "a: c"),
			"update ConfigMap/settings (live) data.a \"b\">\"c\"\nupdate Pod/web (recreate) because [ConfigMap/settings]\n",
		},
		"a key of it that is not used": {
			sandbox("web", "a:1", oneKey) + configMap("settings", "a: b"), sandbox("web", "a:1", oneKey) + configMap("settings", "a: b, c: d"),
			"update ConfigMap/settings (live) data.c >\"d\"\n",
		},
		"its end": {
			sandbox("web", "a:1", envFrom) + configMap("settings", "a: b"), sandbox("web", "a:1", envFrom),
			"delete ConfigMap/settings\nupdate Pod/web (live) missing [ConfigMap/settings]\n",
		},
		"a ConfigMap that a StatefulSet's sandboxes use": {
			statefulSet("a:1", envFrom, "") + configMap("settings", "a: b"), statefulSet("a:1", envFrom, "") + configMap("settings", "a: c"),
			"update ConfigMap/settings (live) data.a \"b\">\"c\"\nupdate StatefulSet/db (recreate) because [ConfigMap/settings]\n",
		},
		"one that is missing before and after": {sandbox("web", "a:1", envFrom), sandbox("web", "a:1", envFrom), ""},
		"one that a new sandbox lacks": {
			"", sandbox("web", "a:1", envFrom),
			"create Pod/web missing [ConfigMap/settings]\n",
		},
		"a Secret in use": {
			sandbox("web", "a:1", token) + secret("s", "token: sesame"), sandbox("web", "a:1", token) + secret("s", "token: open"),
			"update Pod/web (recreate) because [Secret/s]\nupdate Secret/s (live) data[token] \"<hidden>\">\"<hidden>\"\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := short(Between(parse(t, test.from), parse(t, test.to)))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func statefulSet(image, more, spec string) string {
	return fmt.Sprintf("---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {selector: {matchLabels: {app: db}}, "+
		"template: {metadata: {labels: {app: db}}, spec: {containers: [{name: main, image: example.com/%s%s}]}}%s}\n", image, more, spec)
}

func TestWorkloadsSayHowTheirSandboxesFollow(t *testing.T) {
	const job = "---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.com/a:1}]}}}\n"
	const cron = "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: often}\nspec: {schedule: '@daily', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.com/a:1}]}}}}}\n"
	for _, test := range []struct {
		from  string
		class manifests.ChangeClass
		note  string
	}{
		{statefulSet("a:1", "", ""), manifests.ChangeRecreate, "in turn, the last first"},
		{statefulSet("a:1", "", ", updateStrategy: {rollingUpdate: {partition: 2}}"), manifests.ChangeRecreate, "the first 2 stay as they are"},
		{statefulSet("a:1", "", ", updateStrategy: {type: OnDelete}"), manifests.ChangeLive, "when it is deleted"},
		{job, manifests.ChangeImmutable, "give it another name"},
		{cron, manifests.ChangeLive, "the jobs from now on"},
	} {
		got := Between(parse(t, test.from), parse(t, strings.Replace(test.from, "a:1", "a:2", 1)))
		if len(got) != 1 || got[0].Class != test.class || len(got[0].Notes) != 1 || !strings.Contains(got[0].Notes[0], test.note) {
			t.Errorf("got %+v, want %s and %q, of\n%s", got, test.class, test.note, test.from)
		}
	}
}

func TestOverlayReplacesNamesakes(t *testing.T) {
	base := parse(t, sandbox("a", "x:1", "")+sandbox("b", "x:1", ""))
	got := short(Between(base, Overlay(base, parse(t, sandbox("b", "x:2", "")+sandbox("c", "x:1", "")))))
	want := "update Pod/b (recreate) spec.podTemplate.spec.containers[main].image \"example.com/x:1\">\"example.com/x:2\"\ncreate Pod/c\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
