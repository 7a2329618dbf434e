package reconciler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/fields"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// fields are what a field selector may select an object by. A field that the
// object's kind does not have is empty.
func (v *view) fields() fields.Set {
	set := fields.Set{
		"metadata.name": v.key.Name, "metadata.namespace": v.key.Namespace, "kind": v.kind,
		"status.phase":       string(v.status.Phase),
		"spec.operatingMode": "", "spec.restartPolicy": "", "spec.runtimeClassName": "", "status.runtime.name": "",
	}
	if v.status.Runtime != nil {
		set["status.runtime.name"] = v.status.Runtime.Name
	}
	if v.sandbox == nil {
		return set
	}
	pod := &v.sandbox.Spec.PodTemplate.Spec
	set["spec.operatingMode"] = string(v.sandbox.Spec.OperatingMode)
	set["spec.restartPolicy"] = string(pod.RestartPolicy)
	if pod.RuntimeClassName != nil {
		set["spec.runtimeClassName"] = *pod.RuntimeClassName
	}
	return set
}

// parseFields reads a field selector.
func parseFields(text string) (fields.Selector, error) {
	sel, err := fields.ParseSelector(text)
	if err != nil {
		return nil, fmt.Errorf("%w: field selector %q: %w", drivers.ErrInvalidArgument, text, err)
	}
	known := (&view{}).fields()
	for _, r := range sel.Requirements() {
		if _, ok := known[r.Field]; !ok {
			return nil, fmt.Errorf("%w: field selector %q: objects cannot be selected by %q, only by %s",
				drivers.ErrInvalidArgument, text, r.Field, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return sel, nil
}
