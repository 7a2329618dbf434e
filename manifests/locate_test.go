package manifests

import "testing"

func TestFieldsAreLocatedInEveryKind(t *testing.T) {
	const data = `apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - {name: a, image: busybox}
  - name: b
    image: busybox
---
apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: s}
spec:
  podTemplate: {spec: {containers: [{name: a, image: busybox}]}}
  vm:
    runtimeData:
      a.b: {list: [1, 2]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: a, image: busybox}]}}
`
	objects, errs := Parse("m.yaml", []byte(data))
	if len(errs) > 0 || len(objects) != 4 {
		t.Fatal(errs)
	}
	pod, sandbox, job := objects[1], objects[2], objects[3]
	for _, tt := range []struct {
		object  Object
		field   string
		name    bool
		at      string
		written string
	}{
		{pod, "spec.podTemplate.spec.containers[1]", false, "m.yaml:11:5", "spec.containers[1]"},
		{pod, "spec.podTemplate.spec.containers[1].image", false, "m.yaml:12:12", "spec.containers[1].image"},
		{pod, "spec.podTemplate.spec.containers[1].image", true, "m.yaml:12:5", "spec.containers[1].image"},
		{pod, "spec.podTemplate.spec.volumes", false, "m.yaml:9:3", "spec.volumes"},
		{job, "spec.podTemplate.spec.containers[0].image", false, "m.yaml:27:73", "spec.template.spec.containers[0].image"},
		{sandbox, "spec.vm.runtimeData[a.b].list[1]", false, "m.yaml:21:23", "spec.vm.runtimeData[a.b].list[1]"},
		{sandbox, "spec.vm.runtimeData[a.b]", true, "m.yaml:21:7", "spec.vm.runtimeData[a.b]"},
		{sandbox, "spec.vm.runtimeData", true, "m.yaml:20:5", "spec.vm.runtimeData"},
		{sandbox, "spec.vm.runtimeData.gone", true, "m.yaml:21:7", "spec.vm.runtimeData.gone"},
	} {
		at, written := Locate("m.yaml", []byte(data), tt.object, tt.field, tt.name)
		if at.String() != tt.at || written != tt.written {
			t.Errorf("%s (name: %t): %s %s, want %s %s", tt.field, tt.name, at, written, tt.at, tt.written)
		}
	}
	if at, _ := Locate("m.yaml", []byte("other: data\n"), pod, "spec.x", false); at != pod.Position {
		t.Errorf("in other data: %s", at)
	}
}
