package manifests

import (
	"iter"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// DefaultContainerAnnotation names the container that is meant where none is
// named, as kubectl has it.
const DefaultContainerAnnotation = "kubectl.kubernetes.io/default-container"

// DefaultContainer returns the name of the container that is meant where none is
// named: that of the annotation, on the template or on the object, if there is such
// a container; else the first.
func (s *Sandbox) DefaultContainer() string {
	containers := s.Spec.PodTemplate.Spec.Containers
	for _, annotations := range []map[string]string{s.Spec.PodTemplate.ObjectMeta.Annotations, s.Annotations} {
		name := annotations[DefaultContainerAnnotation]
		if slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Name == name }) {
			return name
		}
	}
	if len(containers) == 0 {
		return ""
	}
	return containers[0].Name
}

// Images gives out what the containers run and what volumes are made of, with how it
// is to be pulled.
func (s *Sandbox) Images() iter.Seq2[string, corev1.PullPolicy] {
	return func(yield func(string, corev1.PullPolicy) bool) {
		for _, c := range s.AllContainers() {
			if !yield(c.Image, c.ImagePullPolicy) {
				return
			}
		}
		for _, v := range s.Spec.PodTemplate.Spec.Volumes {
			if v.Image != nil && !yield(v.Image.Reference, v.Image.PullPolicy) {
				return
			}
		}
	}
}

// AllContainers returns the containers in the order in which they start: the init
// containers, then the others.
func (s *Sandbox) AllContainers() []corev1.Container {
	pod := &s.Spec.PodTemplate.Spec
	return slices.Concat(pod.InitContainers, pod.Containers)
}
