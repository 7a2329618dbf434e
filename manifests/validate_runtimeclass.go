package manifests

import (
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (r *report) validateRuntimeClass(c *nodev1.RuntimeClass) {
	if c.Namespace != "" {
		r.errorf(field.NewPath("metadata", "namespace"), "a RuntimeClass belongs to no namespace")
	}
	setNamespace(&c.ObjectMeta)
	r.validateMeta(&c.ObjectMeta)
	path := field.NewPath("handler")
	if c.Handler == "" {
		r.errorf(path, "required: the name of a runtime plugin, as qemu")
	} else if messages := validation.IsDNS1123Label(c.Handler); len(messages) > 0 {
		r.errorf(path, "%s", join(messages))
	}
}
