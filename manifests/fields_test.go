package manifests

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// reachable visits every struct type that a document can hold in its supported
// fields, once.
func reachable(visit func(t reflect.Type)) {
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			if !isLeaf(t) {
				walk(t.Elem())
			}
		case reflect.Struct:
			if isLeaf(t) || seen[t] {
				return
			}
			seen[t] = true
			visit(t)
			for f := range t.Fields() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if f.Anonymous && name == "" || uses(t) == nil || uses(t)(name).class == supported {
					walk(f.Type)
				}
			}
		}
	}
	for _, k := range kinds() {
		walk(k.document)
	}
}

// Nothing is ignored silently: somebody has decided on every field of every
// type. A new release of Kubernetes' types that brings a field fails here.
func TestEveryFieldHasOneUse(t *testing.T) {
	names := map[fieldClass]string{supported: "supported", notYet: "not yet", harmless: "harmless", meaningless: "meaningless"}
	var lines []string
	reachable(func(typ reflect.Type) {
		use := uses(typ)
		if use == nil {
			t.Errorf("%s can be in a document, and nobody has decided on its fields", typ)
			return
		}
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				if !f.Anonymous || options != "inline" && options != "" {
					t.Errorf("%s.%s has no JSON name", typ, f.Name)
				}
				continue
			}
			u := use(name)
			if names[u.class] == "" {
				t.Errorf("%s.%s: nobody has decided what becomes of it", typ, name)
			}
			if (u.class == harmless || u.class == meaningless) && u.note == "" {
				t.Errorf("%s.%s is %s, and does not say why", typ, name, names[u.class])
			}
			lines = append(lines, fmt.Sprintf("%s.%s: %s", typ, name, names[u.class]))
		}
	})
	slices.Sort(lines)
	golden(t, "testdata/fields.txt", []byte(strings.Join(lines, "\n")+"\n"))
}

func TestLaterFieldsAreRefusedNotIgnored(t *testing.T) {
	refused := func(t *testing.T, text, want string) {
		t.Helper()
		_, errs := Parse("x.yaml", []byte(text))
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("got %q, want one error with %q", texts(errs), want)
		}
	}
	for mark, cases := range map[string][]string{
		"spec": {
			"volumeClaimTemplates: [{metadata: {name: a}, spec: {dataSourceRef: {kind: PersistentVolumeClaim, name: b}}}]",
			"sockets: [{hostPath: a, containerPath: /a}]",
		},
		"pod": {
			"initContainers: [{name: a, image: b, restartPolicy: Always}]",
			"ephemeralContainers: [{name: a, image: b}]",
			"shareProcessNamespace: true",
			"activeDeadlineSeconds: 5",
			"securityContext: {supplementalGroupsPolicy: Strict}",
			"volumes: [{name: a, projected: {sources: [{downwardAPI: {items: [{path: a}]}}]}}]",
			"volumes: [{name: a, emptyDir: {mode: 1}}]",
		},
		"container": {
			"lifecycle: {preStop: {exec: {command: [a]}}}",
			"securityContext: {privileged: true}",
			"env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]",
			"env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]",
		},
	} {
		for _, line := range cases {
			t.Run(line, func(t *testing.T) {
				refused(t, sandboxWith(map[string]string{mark: line}), "is not supported yet")
			})
		}
	}
	t.Run("no meaning", func(t *testing.T) {
		refused(t, sandboxWith(map[string]string{"pod": "hostNetwork: true"}), "hostNetwork has no meaning here: a sandbox is a VM")
		refused(t, sandboxWith(map[string]string{"pod": "readinessGates: [{conditionType: a}]"}), "has no meaning here")
	})
}

func TestEmptyFieldsAreAsGoodAsNone(t *testing.T) {
	plain := one(t, sandboxWith(nil)).Sandbox
	full := one(t, sandboxWith(map[string]string{
		"spec":      "volumeClaimTemplates: []\nnetworks: []\nsockets: []\ndependsOn: []\nshutdownTime: null\nvm: {}",
		"pod":       "initContainers: []\nhostNetwork: false\nshareProcessNamespace: false\nvolumes: []\nimagePullSecrets: []\nsecurityContext: null",
		"container": "ports: []\ntty: false\nlivenessProbe: null",
	})).Sandbox
	if plain.SpecHash() != full.SpecHash() {
		t.Errorf("differs: %+v", Classify(plain, full))
	}
}

func TestClusterOnlyFieldsWarnAndHaveNoEffect(t *testing.T) {
	plain := one(t, sandboxWith(nil))
	lines := []string{
		"serviceAccountName: a", "tolerations: [{key: a}]", "nodeSelector: {a: b}", "affinity: {nodeAffinity: {}}",
		"priorityClassName: a", "schedulerName: a", "automountServiceAccountToken: true", "enableServiceLinks: true",
		"dnsPolicy: ClusterFirst", "nodeName: a",
	}
	warned := one(t, sandboxWith(map[string]string{
		"spec":      "service: true",
		"pod":       strings.Join(lines, "\n"),
		"container": "resources: {requests: {cpu: 100m}}\nsecurityContext: {seccompProfile: {type: RuntimeDefault}}",
	}))
	if got, want := len(warned.Warnings), len(lines)+3; got != want {
		t.Errorf("%d warnings, want %d: %q", got, want, warned.Warnings)
	}
	if want := "/m/x.yaml:5:3: spec.service: has no effect here: there is no cluster around it"; warned.Warnings[0] != want {
		t.Errorf("got %q, want %q", warned.Warnings[0], want)
	}
	if len(plain.Warnings) != 0 {
		t.Errorf("unexpected warnings: %q", plain.Warnings)
	}
	if c := Classify(plain.Sandbox, warned.Sandbox); c.Class != ChangeNone {
		t.Errorf("fields without effect changed something: %+v", c)
	}
}

func TestHarmlessFieldsAreStillCheckedForTheirForm(t *testing.T) {
	got := messages(t, sandboxWith(map[string]string{"pod": "tolerations: [{kee: a}]\nserviceAccountName: [1]"}))
	want := []string{
		`x.yaml:7:22: Sandbox default/web: spec.podTemplate.spec.tolerations[0].kee: unknown field (did you mean "key"?)`,
		`x.yaml:8:27: Sandbox default/web: spec.podTemplate.spec.serviceAccountName: want a string, have a list`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
