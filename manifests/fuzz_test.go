package manifests

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever the bytes: no panic, every error has a place in the file, every
// object is whole.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		twoMaps, sandboxWith(nil),
		sandboxWith(map[string]string{"container": "env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: t}}}]"}),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: b}\n", "a: &a [*a]", "<<: {a: b}", "- - - [", "%YAML 1.2\n---\n",
		`{"apiVersion":"v1","kind":"List","items":[{"kind":"Pod"}]}`, "a:\n\tb", "\ufeff---\n...\n", "a: 0x1\nb: .inf\nc: !!float 1", `{"a":"\ud83d\ude00\/"}`,
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a, resources: {limits: {cpu: 1e3}}}]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, errs := Parse("/m/x.yaml", data)
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") +
			strings.Count(string(data), "\u0085") + strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029") + 2
		for _, e := range errs {
			if e.Line < 1 || e.Column < 1 || e.Line > lines || e.File != "/m/x.yaml" || e.Message == "" {
				t.Errorf("an error without a place: %+v", e)
			}
		}
		for _, o := range objects {
			if o.Key.Name == "" || o.Key.Namespace == "" || o.Position.Line < 1 || !json.Valid(o.Manifest) {
				t.Errorf("half an object: %+v", o)
			}
			if o.Key.Kind == KindSandbox {
				if o.Sandbox.SpecHash() == "" || Classify(o.Sandbox, o.Sandbox).Class != ChangeNone {
					t.Errorf("not equal to itself: %s", o.Key)
				}
				if len(o.Sandbox.Spec.PodTemplate.Spec.Containers) == 0 {
					t.Errorf("no containers: %s", o.Key)
				}
				o.Sandbox.References()
			}
		}
	})
}

func FuzzClosest(f *testing.F) {
	f.Add("imge", "image")
	f.Fuzz(func(t *testing.T, a, b string) {
		Closest(a, []string{b, "image"})
	})
}
