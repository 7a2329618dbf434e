package manifests

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReferencesAreWhatTheSandboxNeeds(t *testing.T) {
	s := one(t, sandboxWith(map[string]string{
		"pod": "volumes: [{name: a, configMap: {name: files, items: [{key: x, path: x}, {key: w, path: w}]}}, {name: b, secret: {secretName: tls, optional: true}}]",
		"container": `envFrom: [{configMapRef: {name: env}}, {secretRef: {name: maybe, optional: true}}]
env:
- {name: A, valueFrom: {secretKeyRef: {name: s, key: token}}}
- {name: B, valueFrom: {secretKeyRef: {name: s, key: other, optional: true}}}
- {name: C, valueFrom: {configMapKeyRef: {name: files, key: v}}}
- {name: D, value: d}
- {name: E, valueFrom: {fieldRef: {fieldPath: metadata.name}}}`,
	})).Sandbox
	key := func(kind, name string) Key { return Key{kind, "default", name} }
	want := []Reference{
		{Key: key(KindConfigMap, "env")},
		{Key: key(KindConfigMap, "files"), Keys: []string{"v", "w", "x"}},
		{Key: key(KindSecret, "maybe"), Optional: true},
		{Key: key(KindSecret, "s"), Keys: []string{"token"}},
		{Key: key(KindSecret, "tls"), Optional: true},
	}
	if diff := cmp.Diff(want, s.References()); diff != "" {
		t.Error(diff)
	}
	if refs := one(t, sandboxWith(nil)).Sandbox.References(); len(refs) != 0 {
		t.Errorf("references out of nothing: %v", refs)
	}
}

func TestFieldValues(t *testing.T) {
	s := one(t, `apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: web, namespace: prod, labels: {app: own, only: here}, annotations: {a/b: c}}
spec: {podTemplate: {metadata: {labels: {app: template}}, spec: {containers: [{name: a, image: b}]}}}
`).Sandbox
	for path, want := range map[string]string{
		"metadata.name": "web", "metadata.namespace": "prod", "metadata.labels['app']": "template", "metadata.labels['only']": "here",
		"metadata.annotations['a/b']": "c", "metadata.labels['none']": "", "metadata.uid": "", "metadata.labels[app]": "", "": "",
	} {
		if got := s.FieldValue(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
