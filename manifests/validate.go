package manifests

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// join makes one message of those that apimachinery's validation returns, less
// the regular expressions: they come after the same thing said in words.
func join(messages []string) string {
	words := make([]string, len(messages))
	for i, m := range messages {
		before, _, found := strings.Cut(m, ", regex used for validation")
		if words[i] = before; found {
			words[i] += ")"
		}
	}
	return strings.Join(words, "; ")
}

// validateMeta checks what every object has.
func (r *report) validateMeta(m *metav1.ObjectMeta) {
	path := field.NewPath("metadata")
	r.validateName(path.Child("name"), m.Name)
	if messages := validation.IsDNS1123Label(m.Namespace); len(messages) > 0 {
		r.errorf(path.Child("namespace"), "%s", join(messages))
	}
	r.validateLabels(path.Child("labels"), m.Labels)
	r.validateAnnotations(path.Child("annotations"), m.Annotations)
	r.validatePrune(m)
}

func (r *report) validateName(path *field.Path, name string) {
	switch {
	case name == "":
		r.errorf(path, "required: every object has a name")
	case len(name) > validation.DNS1123SubdomainMaxLength:
		r.errorf(path, "the name has %d characters; %d are the most", len(name), validation.DNS1123SubdomainMaxLength)
	default:
		if messages := validation.IsDNS1123Subdomain(name); len(messages) > 0 {
			r.errorf(path, "%s", join(messages))
		}
	}
}

func (r *report) validateLabels(path *field.Path, labels map[string]string) {
	for k, v := range labels {
		at := keyed(path, k)
		if messages := validation.IsQualifiedName(k); len(messages) > 0 {
			r.errorf(at, "not a label's name: %s", join(messages))
		}
		if messages := validation.IsValidLabelValue(v); len(messages) > 0 {
			r.errorf(at, "not a label's value: %s", join(messages))
		}
	}
}

func (r *report) validateAnnotations(path *field.Path, annotations map[string]string) {
	const most = 256 << 10 // Kubernetes' bound
	size := 0
	for k, v := range annotations {
		size += len(k) + len(v)
		if messages := validation.IsQualifiedName(strings.ToLower(k)); len(messages) > 0 {
			r.errorf(keyed(path, k), "not an annotation's name: %s", join(messages))
		}
	}
	if size > most {
		r.errorf(path, "the annotations have %d bytes; %d are the most", size, most)
	}
}

// oneOf checks a word against those that are allowed.
func oneOf[T ~string](r *report, path *field.Path, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		if words[i] = string(a); a == "" {
			words[i] = "empty"
		}
	}
	r.didYouMean(path, Closest(string(value), words), "must be %s", orList(words))
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// inRange checks a number against its bounds.
func inRange(r *report, path *field.Path, value, least, most int64) {
	if value < least || value > most {
		r.errorf(path, "%d is not between %d and %d", value, least, most)
	}
}
