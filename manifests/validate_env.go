package manifests

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of a container's environment.
const (
	maxEnv      = 4096
	maxEnvBytes = 128 << 10
)

// validateEnv checks variables. A name may be set twice: the last one counts.
func (r *report) validateEnv(path *field.Path, env []corev1.EnvVar) {
	atMost(r, path, len(env), maxEnv)
	for i, e := range env {
		at := path.Index(i)
		r.validateVariable(at, e.Name, e.Value)
		if e.ValueFrom == nil {
			continue
		}
		if e.Value != "" {
			r.errorf(at.Child("valueFrom"), "value is set already: one of them")
		}
		r.validateEnvSource(at.Child("valueFrom"), e.ValueFrom)
	}
}

func (r *report) validateVariable(path *field.Path, name, value string) {
	if name == "" {
		r.errorf(path.Child("name"), "required: every variable has a name")
	} else if messages := validation.IsRelaxedEnvVarName(name); len(messages) > 0 {
		r.errorf(path.Child("name"), "%s", join(messages))
	}
	if len(value) > maxEnvBytes || strings.ContainsRune(value, 0) {
		r.errorf(path.Child("value"), "must be text of at most %d bytes without NUL", maxEnvBytes)
	}
}

func (r *report) validateEnvSource(path *field.Path, from *corev1.EnvVarSource) {
	count := 0
	if ref := from.ConfigMapKeyRef; ref != nil {
		count++
		r.validateKeyRef(path.Child("configMapKeyRef"), ref.Name, ref.Key)
	}
	if ref := from.SecretKeyRef; ref != nil {
		count++
		r.validateKeyRef(path.Child("secretKeyRef"), ref.Name, ref.Key)
	}
	if ref := from.FieldRef; ref != nil {
		count++
		r.validateFieldRef(path.Child("fieldRef"), ref)
	}
	if count != 1 {
		r.errorf(path, "must have exactly one of configMapKeyRef, secretKeyRef and fieldRef")
	}
}

func (r *report) validateKeyRef(path *field.Path, name, key string) {
	r.validateRefName(path.Child("name"), name)
	if messages := validation.IsConfigMapKey(key); len(messages) > 0 {
		r.errorf(path.Child("key"), "%s", join(messages))
	}
}

func (r *report) validateRefName(path *field.Path, name string) {
	if name == "" {
		r.errorf(path, "required: the name of the object")
	} else if messages := validation.IsDNS1123Subdomain(name); len(messages) > 0 {
		r.errorf(path, "%s", join(messages))
	}
}

func (r *report) validateEnvFrom(path *field.Path, sources []corev1.EnvFromSource) {
	atMost(r, path, len(sources), maxEnv)
	for i, s := range sources {
		at := path.Index(i)
		if s.Prefix != "" {
			if messages := validation.IsRelaxedEnvVarName(s.Prefix); len(messages) > 0 {
				r.errorf(at.Child("prefix"), "%s", join(messages))
			}
		}
		switch {
		case (s.ConfigMapRef == nil) == (s.SecretRef == nil):
			r.errorf(at, "must have exactly one of configMapRef and secretRef")
		case s.ConfigMapRef != nil:
			r.validateRefName(at.Child("configMapRef", "name"), s.ConfigMapRef.Name)
		default:
			r.validateRefName(at.Child("secretRef", "name"), s.SecretRef.Name)
		}
	}
}

func (r *report) validateFieldRef(path *field.Path, ref *corev1.ObjectFieldSelector) {
	if ref.APIVersion != "v1" {
		r.errorf(path.Child("apiVersion"), "must be v1")
	}
	if _, _, ok := splitFieldPath(ref.FieldPath); ok {
		return
	}
	switch ref.FieldPath {
	case "":
		r.errorf(path.Child("fieldPath"), "required: the field to take the value from")
	case "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs":
		r.errorf(path.Child("fieldPath"), "%s is not supported yet", ref.FieldPath)
	default:
		r.didYouMean(path.Child("fieldPath"), Closest(ref.FieldPath, []string{"metadata.name", "metadata.namespace"}),
			"must be metadata.name, metadata.namespace, metadata.labels['KEY'] or metadata.annotations['KEY']")
	}
}

// splitFieldPath takes "metadata.labels['app']" apart.
func splitFieldPath(path string) (fieldName, key string, ok bool) {
	switch path {
	case "metadata.name", "metadata.namespace":
		return path, "", true
	}
	fieldName, rest, found := strings.Cut(path, "['")
	key, closed := strings.CutSuffix(rest, "']")
	switch fieldName {
	case "metadata.labels", "metadata.annotations":
		return fieldName, key, found && closed && len(validation.IsQualifiedName(strings.ToLower(key))) == 0
	}
	return "", "", false
}

// FieldValue returns the value of a field that an environment variable takes by
// fieldRef: the sandbox's name or namespace, or one of the labels or annotations
// of its Pod, where those of the template count before those of the sandbox. A
// key that is not there is empty. Other paths are not valid and are empty too.
func (s *Sandbox) FieldValue(path string) string {
	fieldName, key, ok := splitFieldPath(path)
	if !ok {
		return ""
	}
	template, own := s.Spec.PodTemplate.ObjectMeta.Labels, s.Labels
	switch fieldName {
	case "metadata.name":
		return s.Name
	case "metadata.namespace":
		return s.Namespace
	case "metadata.annotations":
		template, own = s.Spec.PodTemplate.ObjectMeta.Annotations, s.Annotations
	}
	if v, has := template[key]; has {
		return v
	}
	return own[key]
}
