package main

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// claim returns the object as a PersistentVolumeClaim.
func (o *object) claim() corev1.PersistentVolumeClaim {
	var c corev1.PersistentVolumeClaim
	_ = json.Unmarshal(o.raw, &c) // what the daemon sends is one
	return c
}

// accessModes are short, as kubectl shows them.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	short := map[corev1.PersistentVolumeAccessMode]string{
		corev1.ReadWriteOnce: "RWO", corev1.ReadOnlyMany: "ROX", corev1.ReadWriteOncePod: "RWOP",
	}
	var words []string
	for _, m := range modes {
		words = append(words, short[m])
	}
	return strings.Join(words, ",")
}

// quantity shows a size, or nothing if there is none.
func quantity(q *resource.Quantity) string {
	if q.IsZero() {
		return ""
	}
	return q.String()
}

func (d *description) claim(o *object) {
	c := o.claim()
	d.field(0, "Status", string(c.Status.Phase))
	d.field(0, "Capacity", quantity(c.Status.Capacity.Storage()))
	d.field(0, "Requested", quantity(c.Spec.Resources.Requests.Storage()))
	d.field(0, "Access modes", accessModes(c.Spec.AccessModes))
	for _, cond := range c.Status.Conditions {
		d.field(0, string(cond.Type), cond.Message)
	}
}
