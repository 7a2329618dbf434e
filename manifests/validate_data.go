package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxDataBytes is Kubernetes' bound of a ConfigMap's or a Secret's values.
const maxDataBytes = 1 << 20

func (r *report) validateConfigMap(c *corev1.ConfigMap) {
	r.validateMeta(&c.ObjectMeta)
	size := 0
	for k, v := range c.Data {
		size += len(v)
		r.validateDataKey(field.NewPath("data"), k)
	}
	for k, v := range c.BinaryData {
		size += len(v)
		r.validateDataKey(field.NewPath("binaryData"), k)
		if _, twice := c.Data[k]; twice {
			r.errorf(keyed(field.NewPath("binaryData"), k), "the key is in data too")
		}
	}
	r.validateDataSize(size)
}

func (r *report) validateSecret(s *corev1.Secret) {
	r.validateMeta(&s.ObjectMeta)
	size := 0
	for k, v := range s.Data {
		size += len(v)
		path := field.NewPath("data")
		if r.root.get("stringData").get(k) != nil {
			path = field.NewPath("stringData")
		}
		r.validateDataKey(path, k)
	}
	r.validateDataSize(size)
	if s.Type != "" && len(validation.IsQualifiedName(string(s.Type))) > 0 {
		r.errorf(field.NewPath("type"), "not a type of Secret, such as Opaque")
	}
}

func (r *report) validateDataKey(path *field.Path, key string) {
	if messages := validation.IsConfigMapKey(key); len(messages) > 0 {
		r.errorf(keyed(path, key), "%s", join(messages))
	}
}

func (r *report) validateDataSize(size int) {
	if size > maxDataBytes {
		r.errorf(nil, "the values have %d bytes; %d are the most", size, maxDataBytes)
	}
}
