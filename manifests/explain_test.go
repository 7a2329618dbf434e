package manifests

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	containers, err := Explain("", "sandbox", []string{"spec", "podTemplate", "spec", "containers"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if c := containers; c.APIVersion != APIVersion || c.Kind != "Sandbox" || c.Name != "containers" || c.Type != "[]Container" || !c.Required || c.Description == "" {
		t.Errorf("got %+v", c)
	}
	types := map[string]string{}
	for _, f := range containers.Fields {
		types[f.Name] = f.Type
		if len(f.Fields) > 0 {
			t.Errorf("%s has fields below", f.Name)
		}
	}
	for name, want := range map[string]string{"image": "string", "env": "[]EnvVar", "resources": "ResourceRequirements", "command": "[]string"} {
		if types[name] != want {
			t.Errorf("%s is %q, want %q", name, types[name], want)
		}
	}
	for path, want := range map[string]string{
		"metadata.labels": "map[string]string",
		"spec.vm.memory":  "Quantity",
		"spec.podTemplate.spec.containers.env.name":           "string",
		"spec.podTemplate.spec.nodeSelector":                  "any",
		"spec.vm.runtimeData":                                 "Object",
		"spec.podTemplate.spec.containers.env":                "[]EnvVar",
		"spec.podTemplate.spec.terminationGracePeriodSeconds": "integer",
	} {
		doc, err := Explain("", "Sandbox", strings.Split(path, "."), 0)
		if err != nil || doc.Type != want || len(doc.Fields) > 0 {
			t.Errorf("%s: %+v, %v; want %s", path, doc, err, want)
		}
	}
	mode, err := Explain("agents.x-k8s.io/v1beta1", "sandbox", []string{"spec", "operatingMode"}, 1)
	if err != nil || strings.Join(mode.Enum, " ") != "Running Suspended" || mode.Default != "Running" {
		t.Errorf("got %+v, %v", mode, err)
	}
	if all, err := Explain("", "Pod", nil, -1); err != nil || len(all.Fields) == 0 {
		t.Errorf("all of a Pod: %v", err)
	}
}

func TestExplainSaysWhatWasMeant(t *testing.T) {
	for _, tc := range []struct{ version, kind, path, want string }{
		{"", "Sandbox", "spec.podTemplate.spec.container", `sandbox.spec.podTemplate.spec has no field "container" (did you mean "containers"?)`},
		{"", "Sandbox", "metadata.name.x", "sandbox.metadata.name has no fields"},
		{"", "Sandbox", "spec.vm.zzzzzz", "it has cpus, disk, kernel"},
		{"", "Sandboks", "", `(did you mean "Sandbox"?)`},
		{"", "Gizmo", "", "the kinds are ConfigMap, "},
		{"v2", "Pod", "", "it is in v1"},
	} {
		var path []string
		if tc.path != "" {
			path = strings.Split(tc.path, ".")
		}
		if _, err := Explain(tc.version, tc.kind, path, 1); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s.%s: %v, want %s", tc.kind, tc.path, err, tc.want)
		}
	}
}
