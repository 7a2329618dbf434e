package manifests

import (
	"strings"
	"testing"
)

func TestRuntimeClass(t *testing.T) {
	o := one(t, "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: kata}\nhandler: qemu\noverhead: {podFixed: {memory: 160Mi}}\nscheduling: {nodeSelector: {kata: 'true'}}\n")
	if o.Key != RuntimeClassKey("kata") || o.RuntimeClass.Handler != "qemu" || o.RuntimeClass.Overhead != nil {
		t.Errorf("%+v", o)
	}
	if len(o.Warnings) != 2 || !strings.Contains(o.Warnings[0], ":5:1: overhead: has no effect here: a VM has memory for its kernel") {
		t.Errorf("%q", o.Warnings)
	}
	for text, want := range map[string]string{
		"metadata: {name: kata}\n":                          "RuntimeClass default/kata: handler: required",
		"metadata: {name: kata}\nhandler: ../x\n":           "x.yaml:4:10: RuntimeClass default/kata: handler: a lowercase",
		"metadata: {name: k, namespace: x}\nhandler: q\n":   "metadata.namespace: a RuntimeClass belongs to no namespace",
		"metadata: {name: kata}\nspec: {runtimeHandler: x}": "spec: unknown field",
	} {
		got := messages(t, "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\n"+text)
		if len(got) == 0 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestSandboxRefersToItsRuntimeClass(t *testing.T) {
	refs := one(t, sandboxWith(map[string]string{"pod": "runtimeClassName: kata.v2"})).Sandbox.References()
	if len(refs) != 1 || refs[0].Key != RuntimeClassKey("kata.v2") || !refs[0].Optional {
		t.Errorf("%+v", refs)
	}
}
