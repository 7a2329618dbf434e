package manifests

import (
	"strings"
	"testing"
)

func TestInitContainersAreCheckedLikeTheOthers(t *testing.T) {
	for line, want := range map[string]string{
		"initContainers: [{name: main, image: a}]":                                               "another container is named main too",
		"initContainers: [{name: a, image: b}, {name: a, image: b}]":                             "another container is named a too",
		"initContainers: [{name: a, image: ''}]":                                                 "image",
		"initContainers: [{name: a, image: b, volumeMounts: [{name: x, mountPath: /x}]}]":        "x",
		"initContainers: [{name: a, image: b, restartPolicy: Always}]":                           "restartPolicy is not supported yet",
		"initContainers: [{name: a, image: b, resources: {limits: {memory: 9999999Gi}}}]":        "memory",
		"initContainers: [{name: a, image: b, ports: [{containerPort: 80, hostPort: 80}]}]":      "ports[0].hostPort: must not be set",
		"initContainers: [{name: a, image: b, ports: [{containerPort: 80, hostIP: 127.0.0.1}]}]": "ports[0].hostIP: must not be set",
		"initContainers: [{name: a, image: b, env: [{name: A, valueFrom: {fieldRef: null}}]}]":   "valueFrom",
	} {
		_, errs := Parse("x.yaml", []byte(sandboxWith(map[string]string{"pod": line})))
		// The container of the others comes second, so the error may be there.
		if len(errs) == 0 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%s: got %q, want an error with %q", line, texts(errs), want)
		}
	}
}

func TestVMHasRoomForTheLargestInitContainer(t *testing.T) {
	s := one(t, sandboxWith(map[string]string{
		"pod":       "initContainers: [{name: a, image: b, resources: {limits: {cpu: 3, memory: 1Gi}}}, {name: c, image: b, resources: {limits: {cpu: 2, memory: 512Mi}}}]",
		"container": "resources: {limits: {cpu: 1, memory: 256Mi}}",
	})).Sandbox
	if s.Spec.VM.CPUs != 3 || s.Spec.VM.Memory.Value() != 1<<30+MemoryOverheadBytes {
		t.Errorf("the VM has %d CPUs and %s", s.Spec.VM.CPUs, s.Spec.VM.Memory)
	}
	if got := len(s.AllContainers()); got != 3 {
		t.Errorf("%d containers in all", got)
	}
}

func TestInitContainersReferToWhatTheyTakeFrom(t *testing.T) {
	s := one(t, sandboxWith(map[string]string{
		"pod": "initContainers: [{name: a, image: b, envFrom: [{configMapRef: {name: conf}}]}]",
	})).Sandbox
	if refs := s.References(); len(refs) != 1 || refs[0].Key.Name != "conf" {
		t.Errorf("got %v", refs)
	}
}
