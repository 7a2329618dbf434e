package manifests

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// A Reference is a ConfigMap, a Secret, a PersistentVolumeClaim, a RuntimeClass or a
// Network that a sandbox needs.
type Reference struct {
	Key Key
	// Optional says that the sandbox starts without the object too, and without
	// any of Keys.
	Optional bool
	// Keys are those of the object's keys that must be there, sorted. What is
	// optional by itself is not among them.
	Keys []string
}

// References lists what the sandbox needs, each object once, by kind and name.
func (s *Sandbox) References() []Reference {
	refs := references{namespace: s.Namespace, found: map[Key]*needed{}}
	pod := &s.Spec.PodTemplate.Spec
	for i := range pod.InitContainers {
		refs.container(&pod.InitContainers[i])
	}
	for i := range pod.Containers {
		refs.container(&pod.Containers[i])
	}
	for _, v := range pod.Volumes {
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					refs.files(KindConfigMap, s.ConfigMap.Name, s.ConfigMap.Optional, s.ConfigMap.Items)
				}
				if s.Secret != nil {
					refs.files(KindSecret, s.Secret.Name, s.Secret.Optional, s.Secret.Items)
				}
			}
		}
		if v.ConfigMap != nil {
			refs.files(KindConfigMap, v.ConfigMap.Name, v.ConfigMap.Optional, v.ConfigMap.Items)
		}
		if v.Secret != nil {
			refs.files(KindSecret, v.Secret.SecretName, v.Secret.Optional, v.Secret.Items)
		}
	}
	// As in Kubernetes, one that is not there is no reason to wait: the image may be
	// here, or open to all.
	for _, p := range pod.ImagePullSecrets {
		refs.add(KindSecret, p.Name, new(true))
	}
	for _, c := range s.Claims() {
		if c.Template == nil {
			refs.add(KindPersistentVolumeClaim, c.Name, nil)
		}
	}
	if class := pod.RuntimeClassName; class != nil && *class != "" {
		// Without one it is a runtime's own name.
		refs.found[RuntimeClassKey(*class)] = &needed{}
	}
	for _, n := range s.Spec.Networks {
		// The default one is there without a manifest.
		refs.found[NetworkKey(n.Name)] = &needed{required: n.Name != DefaultNetwork, keys: map[string]bool{}}
	}
	return refs.sorted()
}

// RuntimeClassKey is the key of a RuntimeClass, which belongs to no namespace.
func RuntimeClassKey(name string) Key {
	return Key{Kind: KindRuntimeClass, Namespace: DefaultNamespace, Name: name}
}

type references struct {
	namespace string
	found     map[Key]*needed
}

type needed struct {
	required bool
	keys     map[string]bool
}

func (r *references) add(kind, name string, optional *bool, keys ...string) {
	key := Key{Kind: kind, Namespace: r.namespace, Name: name}
	n := r.found[key]
	if n == nil {
		n = &needed{keys: map[string]bool{}}
		r.found[key] = n
	}
	if optional != nil && *optional {
		return
	}
	n.required = true
	for _, k := range keys {
		n.keys[k] = true
	}
}

func (r *references) container(c *corev1.Container) {
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil {
			r.add(KindConfigMap, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		}
		if from.SecretRef != nil {
			r.add(KindSecret, from.SecretRef.Name, from.SecretRef.Optional)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if ref := e.ValueFrom.ConfigMapKeyRef; ref != nil {
			r.add(KindConfigMap, ref.Name, ref.Optional, ref.Key)
		}
		if ref := e.ValueFrom.SecretKeyRef; ref != nil {
			r.add(KindSecret, ref.Name, ref.Optional, ref.Key)
		}
	}
}

func (r *references) files(kind, name string, optional *bool, items []corev1.KeyToPath) {
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = item.Key
	}
	r.add(kind, name, optional, keys...)
}

func (r *references) sorted() []Reference {
	out := make([]Reference, 0, len(r.found))
	for key, n := range r.found {
		out = append(out, Reference{Key: key, Optional: !n.required, Keys: slices.Sorted(maps.Keys(n.keys))})
	}
	slices.SortFunc(out, func(a, b Reference) int {
		return cmp.Or(cmp.Compare(a.Key.Kind, b.Key.Kind), cmp.Compare(a.Key.Name, b.Key.Name))
	})
	return out
}
