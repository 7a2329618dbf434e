package manifests

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// AnnotationPrune, with the value PruneDisabled, keeps a sandbox when its manifest
// is removed.
const (
	AnnotationPrune = "vzreconciler.dev/prune"
	PruneDisabled   = "disabled"
	PruneEnabled    = "enabled"
)

// validatePrune checks an object's annotation about its removal. Only what runs
// can be kept: of a ConfigMap or Secret nothing is known but by its manifest.
func (r *report) validatePrune(m *metav1.ObjectMeta) {
	value, ok := m.Annotations[AnnotationPrune]
	if !ok {
		return
	}
	path := keyed(field.NewPath("metadata", "annotations"), AnnotationPrune)
	oneOf(r, path, value, PruneDisabled, PruneEnabled)
	if kind := r.root.get("kind").text(); kind == KindConfigMap || kind == KindSecret || kind == KindPersistentVolumeClaim || kind == KindRuntimeClass || kind == KindNetwork {
		r.warnAt(r.locate(pathString(path)), pathString(path), "has no effect on a %s", kind)
	}
}
