package manifests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestChangesAreClassed(t *testing.T) {
	base := map[string]string{
		"spec":      "vm: {memory: 512Mi}",
		"pod":       "volumes: [{name: d, emptyDir: {}}]",
		"container": "env: [{name: A, value: a}, {name: B, value: b}]\nresources: {limits: {memory: 1Gi}}\nports: [{containerPort: 80}]",
	}
	base["spec"] = "vm: {memory: 2Gi}"
	change := func(from, to string) string { return strings.Replace(sandboxWith(base), from, to, 1) }
	for _, c := range []struct {
		name, text string
		class      ChangeClass
		fields     string
	}{
		{"nothing", sandboxWith(base), ChangeNone, ""},
		{"another way to write it", change("2Gi", "2048Mi"), ChangeNone, ""},
		{"a default written out", change("spec:\n", "spec:\n  operatingMode: Running\n"), ChangeNone, ""},
		{"a field without effect", change("      volumes", "      nodeName: x\n      volumes"), ChangeNone, ""},
		{"labels", change("{name: web}", "{name: web, labels: {a.b/c: d}}"), ChangeLive, `metadata.labels "" {"a.b/c":"d"}`},
		{"annotations", change("{name: web}", "{name: web, annotations: {a: b}}"), ChangeLive, `metadata.annotations "" {"a":"b"}`},
		{"pod labels", change("podTemplate:\n", "podTemplate:\n    metadata: {labels: {a: b}}\n"), ChangeLive, `spec.podTemplate.metadata "" {"labels":{"a":"b"}}`},
		{"restartPolicy", change("      volumes", "      restartPolicy: Never\n      volumes"), ChangeLive, `spec.podTemplate.spec.restartPolicy "Always" "Never"`},
		{"grace period", change("      volumes", "      terminationGracePeriodSeconds: 5\n      volumes"), ChangeLive, `spec.podTemplate.spec.terminationGracePeriodSeconds 10 5`},
		{"operatingMode", change("spec:\n", "spec:\n  operatingMode: Suspended\n"), ChangeLive, `spec.operatingMode "Running" "Suspended"`},
		{"shutdownPolicy", change("spec:\n", "spec:\n  shutdownPolicy: Delete\n"), ChangeLive, `spec.shutdownPolicy "Retain" "Delete"`},
		{"ports", change("containerPort: 80", "containerPort: 81"), ChangeLive, `spec.podTemplate.spec.containers[main].ports[0].containerPort 80 81`},
		{"pull policy", change("        env", "        imagePullPolicy: Always\n        env"), ChangeLive, `spec.podTemplate.spec.containers[main].imagePullPolicy "IfNotPresent" "Always"`},
		{"probe", change("        env", "        livenessProbe: {tcpSocket: {port: 80}}\n        env"), ChangeLive, `spec.podTemplate.spec.containers[main].livenessProbe "" {"failureThreshold":3,"periodSeconds":10,"successThreshold":1,"tcpSocket":{"port":80},"timeoutSeconds":1}`},
		{"dependsOn", change("spec:\n", "spec:\n  dependsOn: [{name: db}]\n"), ChangeLive, `spec.dependsOn "" [{"condition":"Ready","kind":"Sandbox","name":"db"}]`},
		{"progress deadline", change("spec:\n", "spec:\n  progressDeadlineSeconds: 60\n"), ChangeLive, `spec.progressDeadlineSeconds 600 60`},
		{"image", change("busybox:1.36", "busybox:1.37"), ChangeRecreate, `spec.podTemplate.spec.containers[main].image "docker.io/library/busybox:1.36" "docker.io/library/busybox:1.37"`},
		{"memory", change("memory: 2Gi", "memory: 3Gi"), ChangeRecreate, `spec.vm.memory "2Gi" "3Gi"`},
		{"limit", change("memory: 1Gi", "memory: 1025Mi"), ChangeLive, `spec.podTemplate.spec.containers[main].resources.limits.memory "1Gi" "1025Mi"`},
		{"dns", change("      volumes", "      dnsConfig: {nameservers: [1.1.1.1]}\n      volumes"), ChangeLive, `spec.podTemplate.spec.dnsConfig "" {"nameservers":["1.1.1.1"]}`},
		{"host names", change("      volumes", "      hostAliases: [{ip: 10.0.0.1, hostnames: [a]}]\n      volumes"), ChangeLive, `spec.podTemplate.spec.hostAliases "" [{"hostnames":["a"],"ip":"10.0.0.1"}]`},
		{"variable", change("value: a", "value: c"), ChangeRecreate, `spec.podTemplate.spec.containers[main].env[A].value "a" "c"`},
		{"variable added", change("{name: B, value: b}", "{name: B, value: b}, {name: C}"), ChangeRecreate, `spec.podTemplate.spec.containers[main].env[C] "" {"name":"C"}`},
		{"order of variables", change("{name: A, value: a}, {name: B, value: b}", "{name: B, value: b}, {name: A, value: a}"), ChangeRecreate, `spec.podTemplate.spec.containers[main].env ["A","B"] ["B","A"]`},
		{"volume", change("emptyDir: {}", "emptyDir: {medium: Memory}"), ChangeRecreate, `spec.podTemplate.spec.volumes[d].emptyDir.medium "" "Memory"`},
		{"hostname", change("      volumes", "      hostname: x\n      volumes"), ChangeRecreate, `spec.podTemplate.spec.hostname "web" "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after := one(t, sandboxWith(base)).Sandbox, one(t, c.text).Sandbox
			got := Classify(before, after)
			var fields []string
			for _, f := range got.Fields {
				for _, v := range []*string{&f.Old, &f.New} {
					if *v == "" {
						*v = `""`
					}
				}
				fields = append(fields, fmt.Sprintf("%s %s %s", f.Path, f.Old, f.New))
			}
			if s := strings.Join(fields, "; "); got.Class != c.class || s != c.fields {
				t.Errorf("got  %s %s\nwant %s %s", got.Class, s, c.class, c.fields)
			}
			if changed := before.SpecHash() != after.SpecHash(); changed != slices.ContainsFunc(got.Fields, func(f FieldChange) bool {
				return strings.HasPrefix(f.Path, "spec")
			}) {
				t.Errorf("the hash changed: %v, the fields: %q", changed, fields)
			}
			if back := Classify(after, before); back.Class != got.Class || len(back.Fields) != len(got.Fields) {
				t.Errorf("the way back costs %s, there %s", back.Class, got.Class)
			}
		})
	}
}

func TestLargestChangeDecides(t *testing.T) {
	a := one(t, sandboxWith(nil)).Sandbox
	b := one(t, strings.Replace(sandboxWith(map[string]string{"spec": "operatingMode: Suspended"}), "1.36", "1.37", 1)).Sandbox
	got := Classify(a, b)
	if got.Class != ChangeRecreate || len(got.Fields) != 2 || got.Fields[0].Class != ChangeLive {
		t.Errorf("got %+v", got)
	}
}

func TestChangeClassesHaveNames(t *testing.T) {
	for class, want := range map[ChangeClass]string{
		ChangeNone: "none", ChangeLive: "live", ChangeRecreate: "recreate", ChangeImmutable: "immutable", 9: "ChangeClass(9)",
	} {
		if got := class.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
