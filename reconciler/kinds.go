package reconciler

import (
	"fmt"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// kindSelector says which objects a kind, as users type it, means.
type kindSelector struct {
	// keys are the kinds of key.
	keys []string
	// written, if not empty, is the kind that the manifest must have; group, if
	// not empty, its API group.
	written, group string
}

// parseKind reads a kind in any form users type: "sandbox", "sandboxes", "sb",
// "sandboxes.agents.x-k8s.io", "pod", "cm", "all".
func parseKind(text string) (kindSelector, error) {
	name, group, _ := strings.Cut(strings.ToLower(text), ".")
	sel := kindSelector{group: group}
	switch name {
	case "sandbox", "sandboxes", "sb", "sbx":
		sel.keys = []string{manifests.KindSandbox}
		if group != "" {
			sel.written = "Sandbox"
		}
	case "pod", "pods", "po":
		sel.keys, sel.written = []string{manifests.KindSandbox}, "Pod"
	case "configmap", "configmaps", "cm":
		sel.keys = []string{manifests.KindConfigMap}
	case "secret", "secrets":
		sel.keys = []string{manifests.KindSecret}
	case "persistentvolumeclaim", "persistentvolumeclaims", "pvc":
		sel.keys = []string{manifests.KindPersistentVolumeClaim}
	case "runtimeclass", "runtimeclasses":
		sel.keys = []string{manifests.KindRuntimeClass}
	case "network", "networks", "net":
		sel.keys = []string{manifests.KindNetwork}
	case "job", "jobs":
		sel.keys = []string{manifests.KindJob}
	case "cronjob", "cronjobs", "cj":
		sel.keys = []string{manifests.KindCronJob}
	case "statefulset", "statefulsets", "sts":
		sel.keys = []string{manifests.KindStatefulSet}
	case "sandboxtemplate", "sandboxtemplates":
		sel.keys = []string{manifests.KindSandboxTemplate}
	case "sandboxwarmpool", "sandboxwarmpools", "swp":
		sel.keys = []string{manifests.KindSandboxWarmPool}
	case "sandboxclaim", "sandboxclaims":
		sel.keys = []string{manifests.KindSandboxClaim}
	case "controllerrevision", "controllerrevisions":
		sel.keys = []string{kindRevision}
	case "all", "":
		sel.keys = []string{
			manifests.KindConfigMap, manifests.KindCronJob, manifests.KindJob, manifests.KindNetwork, manifests.KindPersistentVolumeClaim,
			manifests.KindRuntimeClass, manifests.KindSandbox, manifests.KindSandboxClaim, manifests.KindSandboxTemplate,
			manifests.KindSandboxWarmPool, manifests.KindSecret, manifests.KindStatefulSet,
		}
	default:
		return sel, fmt.Errorf("%w: unknown kind %q: there are sandboxes, pods, statefulsets, jobs, cronjobs, sandboxtemplates, sandboxwarmpools, sandboxclaims, configmaps, secrets, persistentvolumeclaims, runtimeclasses and networks", drivers.ErrInvalidArgument, text)
	}
	return sel, nil
}

// fits reports whether the selector means the object.
func (s kindSelector) fits(v *view) bool {
	ok := false
	for _, k := range s.keys {
		ok = ok || k == v.key.Kind
	}
	group, _, versioned := strings.Cut(v.apiVersion, "/")
	if !versioned {
		group = ""
	}
	return ok && (s.written == "" || s.written == v.kind) && (s.group == "" || s.group == group)
}
