package manifests

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
	const head = "apiVersion: v1\nmetadata: {name: a, labels: {l: p}}\n"
	pod := head + "kind: Pod\nspec: {containers: [{name: main, image: example.com/a:1}]}\n"
	for name, test := range map[string]struct {
		from, to string
		want     []FieldChange
	}{
		"nothing": {pod, pod, nil},
		"the same sandbox, written as another kind": {pod, `
apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: a, labels: {l: p}}
spec: {podTemplate: {spec: {containers: [{name: main, image: example.com/a:1}]}}}
`, []FieldChange{
			{Path: "apiVersion", Old: `"v1"`, New: `"vzreconciler.dev/v1alpha1"`, Class: ChangeLive},
			{Path: "kind", Old: `"Pod"`, New: `"Sandbox"`, Class: ChangeLive},
		}},
		"a ConfigMap's content": {
			head + "kind: ConfigMap\ndata: {a: \"1\", b.conf: \"2\", gone: x}\n",
			head + "kind: ConfigMap\ndata: {a: \"3\", b.conf: \"4\"}\n",
			[]FieldChange{
				{Path: "data.a", Old: `"1"`, New: `"3"`, Class: ChangeLive},
				{Path: "data.gone", Old: `"x"`, Class: ChangeLive},
				{Path: "data[b.conf]", Old: `"2"`, New: `"4"`, Class: ChangeLive},
			},
		},
		"a Secret's content, in whatever way it is written": {
			head + "kind: Secret\nstringData: {same: s, changed: sesame, gone: g}\n",
			head + "kind: Secret\ndata: {same: cw==, changed: b3Blbg==, new: bg==}\n",
			[]FieldChange{
				{Path: "data[changed]", Old: `"<hidden>"`, New: `"<hidden>"`, Secret: true, Class: ChangeLive},
				{Path: "data[gone]", Old: `"<hidden>"`, Secret: true, Class: ChangeLive},
				{Path: "data[new]", New: `"<hidden>"`, Secret: true, Class: ChangeLive},
			},
		},
		"a Secret's labels": {
			head + "kind: Secret\nstringData: {a: sesame}\n",
			strings.Replace(head, "l: p", "l: q", 1) + "kind: Secret\nstringData: {a: sesame}\n",
			[]FieldChange{{Path: "metadata.labels.l", Old: `"p"`, New: `"q"`, Class: ChangeLive}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := one(t, test.from), one(t, test.to)
			change := Compare(&from, &to)
			if diff := cmp.Diff(test.want, change.Fields); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestClassesOfChangesAreWordsInJSON(t *testing.T) {
	for class := ChangeNone; class <= ChangeRecreate; class++ {
		data, err := json.Marshal(class)
		var back ChangeClass
		if err != nil || json.Unmarshal(data, &back) != nil || back != class || string(data) != `"`+class.String()+`"` {
			t.Errorf("%s became %s, then %s: %v", class, data, back, err)
		}
	}
	var c ChangeClass
	if json.Unmarshal([]byte(`"dear"`), &c) == nil {
		t.Error("a class that does not exist was read")
	}
}
