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
	onDelete := setText("updateStrategy: {type: OnDelete}")
	next := strings.NewReplacer("metadata: {labels: {app: a}", "metadata: {labels: {app: a, b: c}", "image: b}", "image: b:2}", "oci-layout:img", "oci-layout:img:2").Replace
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
		"a StatefulSet's template": {setText("replicas: 1"), next(setText("replicas: 2")), []FieldChange{
			{Path: "spec.replicas", Old: "1", New: "2", Class: ChangeLive},
			{Path: "spec.template.metadata.labels.b", New: `"c"`, Class: ChangeLive},
			{Path: "spec.template.spec.containers[a].image", Old: `"b"`, New: `"b:2"`, Class: ChangeRecreate},
		}},
		"a StatefulSet's template, taken when its sandboxes are deleted": {onDelete, next(onDelete), []FieldChange{
			{Path: "spec.template.metadata.labels.b", New: `"c"`, Class: ChangeLive},
			{Path: "spec.template.spec.containers[a].image", Old: `"b"`, New: `"b:2"`, Class: ChangeLive},
		}},
		"a default of a StatefulSet, written": {setText(""), setText("replicas: 1\npodManagementPolicy: OrderedReady"), nil},
		"a Job": {jobText("parallelism: 1"), next(jobText("parallelism: 2\ncompletionMode: Indexed\ncompletions: 1")), []FieldChange{
			{Path: "spec.completionMode", Old: `"NonIndexed"`, New: `"Indexed"`, Class: ChangeImmutable},
			{Path: "spec.completions", New: "1", Class: ChangeImmutable},
			{Path: "spec.parallelism", Old: "1", New: "2", Class: ChangeLive},
			{Path: "spec.template.metadata.labels.b", New: `"c"`, Class: ChangeImmutable},
			{Path: "spec.template.spec.containers[a].image", Old: `"oci-layout:/m/img"`, New: `"oci-layout:/m/img:2"`, Class: ChangeImmutable},
		}},
		"a CronJob's template": {cronJobText("schedule: \"@daily\""), next(cronJobText("schedule: \"@daily\"")), []FieldChange{
			{Path: "spec.jobTemplate.spec.template.metadata.labels.b", New: `"c"`, Class: ChangeLive},
			{Path: "spec.jobTemplate.spec.template.spec.containers[a].image", Old: `"oci-layout:/m/img"`, New: `"oci-layout:/m/img:2"`, Class: ChangeLive},
		}},
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
	for class := ChangeNone; class <= ChangeImmutable; class++ {
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
