package manifests

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestDefaultContainerIsTheAnnotatedOneIfThereIsSuch(t *testing.T) {
	for name, tc := range map[string]struct{ template, own, want string }{
		"none":           {"", "", "a"},
		"the template's": {"b", "c", "b"},
		"the object's":   {"", "c", "c"},
		"not there":      {"x", "c", "c"},
		"neither there":  {"x", "y", "a"},
	} {
		var s Sandbox
		s.Spec.PodTemplate.Spec.Containers = []corev1.Container{{Name: "a"}, {Name: "b"}, {Name: "c"}}
		s.Spec.PodTemplate.ObjectMeta.Annotations = map[string]string{DefaultContainerAnnotation: tc.template}
		s.Annotations = map[string]string{DefaultContainerAnnotation: tc.own}
		if got := s.DefaultContainer(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := (&Sandbox{}).DefaultContainer(); got != "" {
		t.Errorf("without containers: %q", got)
	}
}
