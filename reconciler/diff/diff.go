package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// Action is what becomes of an object.
type Action string

// The actions.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Object is an object that differs.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Action     Action `json:"action"`
	// Class is what an update costs the object.
	Class manifests.ChangeClass `json:"class"`
	// Position of the new document, of a deletion that of the old.
	Position manifests.Position      `json:"position"`
	Fields   []manifests.FieldChange `json:"fields,omitempty"`
	// Because names objects whose change is why a sandbox is made anew, as
	// "ConfigMap/settings".
	Because []string `json:"because,omitempty"`
	// Missing names objects without which the sandbox cannot be built.
	Missing []string `json:"missing,omitempty"`
	// Notes say what else matters, for people.
	Notes []string `json:"notes,omitempty"`
}

// Between says what differs between two sets of objects, by kind, namespace and
// name. In a set no key comes twice.
func Between(from, to []manifests.Object) []Object {
	before, after := index(from), index(to)
	var out []Object
	for key := range before {
		if after[key] == nil {
			out = append(out, describe(before[key], Delete))
		}
	}
	for key, obj := range after {
		o, differs := describe(obj, Create), true
		if was := before[key]; was != nil {
			o, differs = compare(before, after, was, obj)
		} else {
			o.Missing = after.missing(obj)
		}
		if differs {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Overlay returns the objects of base, with those of over in the places of their
// namesakes.
func Overlay(base, over []manifests.Object) []manifests.Object {
	replaced := index(over)
	out := slices.Clone(over)
	for _, o := range base {
		if replaced[o.Key] == nil {
			out = append(out, o)
		}
	}
	return out
}

type set map[manifests.Key]*manifests.Object

func index(objects []manifests.Object) set {
	s := make(set, len(objects))
	for i := range objects {
		s[objects[i].Key] = &objects[i]
	}
	return s
}

func describe(obj *manifests.Object, action Action) Object {
	return Object{
		APIVersion: obj.APIVersion, Kind: obj.Kind, Namespace: obj.Key.Namespace, Name: obj.Key.Name,
		Action: action, Position: obj.Position,
	}
}

// compare says how two versions of an object differ, and what they refer to.
func compare(before, after set, was, is *manifests.Object) (o Object, differs bool) {
	o = describe(is, Update)
	change := manifests.Compare(was, is)
	o.Class, o.Fields, o.Notes = change.Class, change.Fields, followed(is, change)
	made, next := makes(was), makes(is)
	if made == nil || next == nil {
		return o, o.Class != manifests.ChangeNone
	}
	o.Missing = after.missing(is)
	switch {
	case len(o.Missing) > 0:
		// What runs runs on: nothing new can be built.
		if len(before.missing(was)) == 0 {
			o.Class = max(o.Class, manifests.ChangeLive)
		}
	case before.taken(made) != after.taken(next):
		for _, ref := range next.References() {
			if before.changed(after, ref.Key) {
				o.Because = append(o.Because, ref.Key.Kind+"/"+ref.Key.Name)
				o.Class = max(o.Class, manifests.ChangeRecreate)
			}
		}
	}
	return o, o.Class != manifests.ChangeNone
}

// makes returns the sandbox that an object is or makes. A CronJob makes none by
// itself, and its jobs are made of what is there at their time.
func makes(obj *manifests.Object) *manifests.Sandbox {
	template := obj.Template()
	if template == nil || obj.CronJob != nil {
		return obj.Sandbox
	}
	made, err := manifests.PodFromTemplate(metav1.ObjectMeta{Name: obj.Key.Name, Namespace: obj.Key.Namespace}, template)
	if err != nil { // It could not have been parsed.
		return nil
	}
	return made.Sandbox
}

// followed says how the sandboxes of a workload follow a change to it.
func followed(is *manifests.Object, change manifests.Change) []string {
	changes := func(field string) bool {
		return slices.ContainsFunc(change.Fields, func(f manifests.FieldChange) bool { return strings.HasPrefix(f.Path, field) })
	}
	switch {
	case change.Class == manifests.ChangeImmutable:
		return []string{"a job that was accepted cannot be changed so, and stays as it is: give it another name, or remove it first"}
	case is.CronJob != nil && changes("spec.jobTemplate."):
		return []string{"the jobs from now on are made so; those that there are go on as they are"}
	case is.StatefulSet == nil || !changes("spec.template."):
		return nil
	case is.StatefulSet.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		return []string{"updateStrategy is OnDelete: each of its sandboxes takes it when it is deleted"}
	}
	note := "its sandboxes follow in turn, the last first, each when those before it are Ready"
	if u := is.StatefulSet.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil && *u.Partition > 0 {
		note += fmt.Sprintf("; the first %d stay as they are (partition)", *u.Partition)
	}
	return []string{note}
}

// taken stands for what a sandbox takes from ConfigMaps and Secrets.
func (s set) taken(sandbox *manifests.Sandbox) string {
	configMaps, secrets := map[string]*corev1.ConfigMap{}, map[string]*corev1.Secret{}
	for _, ref := range sandbox.References() {
		switch obj := s[ref.Key]; {
		case obj == nil:
		case obj.ConfigMap != nil:
			configMaps[ref.Key.Name] = obj.ConfigMap
		case obj.Secret != nil:
			secrets[ref.Key.Name] = obj.Secret
		}
	}
	return bundle.ConfigHash(sandbox, configMaps, secrets)
}

// changed reports whether a ConfigMap or Secret is another in after.
func (s set) changed(after set, key manifests.Key) bool {
	was, is := s[key], after[key]
	if was == nil || is == nil {
		return was != is
	}
	return manifests.Compare(was, is).Class != manifests.ChangeNone
}

// missing names what a sandbox refers to and is not in the set.
func (s set) missing(obj *manifests.Object) []string {
	made := makes(obj)
	if made == nil {
		return nil
	}
	var names []string
	for _, ref := range made.References() {
		if s[ref.Key] == nil && !ref.Optional {
			names = append(names, ref.Key.Kind+"/"+ref.Key.Name)
		}
	}
	return names
}
