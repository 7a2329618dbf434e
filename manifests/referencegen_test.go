package manifests

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// This file makes docs/reference.md.

type referenceMaker struct {
	*schemaMaker
	rows []string
	kind string
}

const referenceHead = `# Reference of manifests

<!-- Generated from the types by: go generate ./manifests. Do not edit. -->

Every field that a manifest may have and that means something. Fields with a type of Kubernetes mean what they mean
there; which of its fields have no effect here or are refused, and why, says [compatibility](compatibility.md). "A change" says what an edit of the field does: "live" disturbs nothing,
"recreate" makes the sandbox anew with a new writable disk; other words say what they mean.

A file ends in .yaml, .yml or .json, has at most %d MiB, and any number of documents separated by "---". A "v1 List" is
read as its items. Relative paths of local images are relative to the manifest's file.

| apiVersion | kind | is |
| --- | --- | --- |
`

func TestReferenceIsUpToDate(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, referenceHead, MaxFileBytes>>20)
	is := map[string]string{
		"Pod": "a Sandbox whose `spec` is the `spec.podTemplate.spec` below", "ConfigMap": "values for variables and files",
		"Secret": "the same, kept in memory only", "PersistentVolumeClaim": "a volume that outlives the sandboxes with it",
		"RuntimeClass": "a name for a runtime plugin", "Network": "what sandboxes are attached to",
		"StatefulSet": "sandboxes with stable names, updated one after the other",
		"Job":         "sandboxes that run to completion", "CronJob": "Jobs at the times of a schedule",
		"SandboxTemplate": "what the sandboxes of pools and claims are made from",
		"SandboxWarmPool": "sandboxes kept ready for claims", "SandboxClaim": "one sandbox, taken from a pool or made",
	}
	for _, k := range kinds() {
		what := is[k.kind]
		switch k.document {
		case reflect.TypeFor[sandboxDocument]():
			what = "one VM and the containers in it"
		case reflect.TypeFor[agentSandboxDocument]():
			what = "a Sandbox without `vm`"
		case reflect.TypeFor[agentSandboxAlphaDocument]():
			what = "a Sandbox without `vm`, and `replicas` (0 or 1) for `operatingMode`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", k.apiVersion, k.kind, what)
	}
	for _, k := range kinds() {
		if k.apiVersion == APIVersion || k.kind == "ConfigMap" || k.kind == "Secret" || k.kind == KindPersistentVolumeClaim || k.kind == KindRuntimeClass || k.kind == KindSandboxTemplate || isWorkload(k.kind) {
			m := &referenceMaker{schemaMaker: newSchemaMaker(t), kind: k.kind}
			m.walk(k.document, "")
			m.print(&b, k)
		}
	}
	golden(t, "../docs/reference.md", []byte(b.String()))
}

func (m *referenceMaker) walk(t reflect.Type, prefix string) {
	for _, f := range fieldsOf(t) {
		path := prefix + f.name
		inner := f.typ
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.use.class == supported && !isInitProbe(path) {
			name, nested := typeName(inner)
			if isWorkload(m.kind) || m.kind == KindSandboxTemplate {
				if as := m.sameAs(inner); as != "" {
					name, nested = as, nil
				}
			}
			required := ""
			if isRequired(f) {
				required = ", required"
			}
			text := strings.ReplaceAll(firstSentences(m.describe(f)), "|", `\|`)
			m.rows = append(m.rows, fmt.Sprintf("| `%s` | %s%s | %s | %s |", path, name, required, m.costOf(path, nested), text))
			if nested != nil {
				suffix := "."
				if inner.Kind() == reflect.Slice {
					suffix = "[]."
				}
				m.walk(nested, path+suffix)
			}
		}
	}
}

// isInitProbe says whether a field is a probe of an init container, which is refused.
func isInitProbe(path string) bool {
	return strings.Contains(path, "initContainers[].") && strings.HasSuffix(path, "Probe")
}

// costOf is what a change of a field costs the sandbox, as Classify says; empty
// for a field that only holds others, or that is none of a sandbox's spec.
func (m *referenceMaker) costOf(path string, nested reflect.Type) string {
	path = strings.ReplaceAll(path, "[]", "")
	if nested != nil || !strings.HasPrefix(path, "spec.") && path != "metadata.labels" && path != "metadata.annotations" && path != "handler" {
		return ""
	}
	if cost, ok := thingCost(m.kind, path); ok {
		return cost
	}
	if isWorkload(m.kind) || m.kind == KindSandboxTemplate {
		return workloadCost(m.kind, path)
	}
	return classOf(path).String()
}

// sameAs names a struct that is described elsewhere.
func (m *referenceMaker) sameAs(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[corev1.PodSpec]():
		return "as a Sandbox's `spec.podTemplate.spec`"
	case t.Kind() == reflect.Slice && t.Elem() == reflect.TypeFor[PersistentVolumeClaimTemplate]():
		return "as a Sandbox's `spec.volumeClaimTemplates`"
	case t == reflect.TypeFor[batchv1.JobSpec]() && m.kind != KindJob:
		return "as a Job's `spec`"
	}
	return ""
}

// thingCost is what a change of a field of an object that is no sandbox, and makes
// none, does.
func thingCost(kind, path string) (cost string, ok bool) {
	switch kind {
	case KindNetwork:
		if path == "spec.subnet" || path == "spec.mtu" {
			return "refused: rename the network", true
		}
	case KindPersistentVolumeClaim:
		switch {
		case path == "spec.resources.requests":
			return "live: it grows, and does not shrink", true
		case strings.HasPrefix(path, "spec.dataSource."):
			return "none, once there is a volume", true
		}
	case KindRuntimeClass:
		if path == "handler" {
			return "refused: rename the class", true
		}
	default:
		return "", false
	}
	return ChangeLive.String(), true
}

// workloadCost is what a change of a field of a workload does to its sandboxes.
func workloadCost(kind, path string) string {
	switch {
	case kind == KindCronJob && strings.HasPrefix(path, "spec.jobTemplate"):
		return "the next job"
	case kind == KindSandboxTemplate && (path == "spec.podTemplate.spec" || path == "spec.volumeClaimTemplates"):
		return "new sandboxes, by the pool's updateStrategy"
	case kind == KindSandboxTemplate && strings.HasPrefix(path, "spec."):
		return "new sandboxes"
	case kind == KindSandboxClaim && (path == "spec.env" || path == "spec.volumeClaimTemplates" || strings.HasPrefix(path, "spec.env.") || strings.HasPrefix(path, "spec.warmPoolRef")):
		return "none, once it has its sandbox"
	case kind == KindStatefulSet && strings.HasPrefix(path, "spec.template"):
		return "a new revision, rolled out"
	case kind == KindStatefulSet && strings.HasPrefix(path, "spec.volumeClaimTemplates.metadata.") &&
		(strings.HasSuffix(path, ".labels") || strings.HasSuffix(path, ".annotations")),
		kind == KindStatefulSet && path == "spec.volumeClaimTemplates.spec.resources.requests":
		return "live"
	case kind == KindStatefulSet && strings.HasPrefix(path, "spec.volumeClaimTemplates"):
		return "refused: rename the set"
	case kind == KindJob && slices.ContainsFunc(ImmutableJobFields(), func(name string) bool { return strings.HasPrefix(path, "spec."+name) }):
		return "refused: rename the job"
	}
	return "live"
}

// typeName names a type for people, and returns the struct inside it if it has
// fields to list.
func typeName(t reflect.Type) (string, reflect.Type) {
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		return "quantity", nil
	case reflect.TypeFor[metav1.Time]():
		return "time", nil
	case reflect.TypeFor[intstr.IntOrString]():
		return "integer or percentage", nil
	case reflect.TypeFor[[]byte]():
		return "base64", nil
	case reflect.TypeFor[json.RawMessage]():
		return "mapping", nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return "mapping", t
	case reflect.Map:
		name, _ := typeName(t.Elem())
		return "mapping to " + name, nil
	case reflect.Slice:
		name, nested := typeName(t.Elem())
		return "list of " + strings.Replace(name+"s", "base64s", "base64", 1), nested
	case reflect.Bool:
		return "boolean", nil
	case reflect.String:
		return "string", nil
	}
	return "integer", nil
}

// firstSentences keeps the start of a long description.
func firstSentences(s string) string {
	const enough = 160
	for i := 0; i < len(s); i++ {
		if i > 40 && s[i] == '.' && (i+1 == len(s) || s[i+1] == ' ') || i > enough && s[i] == ' ' {
			if s[i] == ' ' {
				return s[:i] + " …"
			}
			return s[:i+1]
		}
	}
	return s
}

func (m *referenceMaker) print(b *strings.Builder, k kind) {
	fmt.Fprintf(b, "\n## %s (%s)\n\n| field | type | a change | meaning |\n| --- | --- | --- | --- |\n%s\n", k.kind, k.apiVersion, strings.Join(m.rows, "\n"))
}
