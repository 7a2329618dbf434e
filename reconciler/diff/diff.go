package diff

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

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
	o.Class, o.Fields = change.Class, change.Fields
	if was.Sandbox == nil || is.Sandbox == nil {
		return o, o.Class != manifests.ChangeNone
	}
	o.Missing = after.missing(is)
	switch {
	case len(o.Missing) > 0:
		// What runs runs on: nothing new can be built.
		if len(before.missing(was)) == 0 {
			o.Class = max(o.Class, manifests.ChangeLive)
		}
	case before.taken(was.Sandbox) != after.taken(is.Sandbox):
		for _, ref := range is.Sandbox.References() {
			if before.changed(after, ref.Key) {
				o.Because = append(o.Because, ref.Key.Kind+"/"+ref.Key.Name)
				o.Class = manifests.ChangeRecreate
			}
		}
	}
	return o, o.Class != manifests.ChangeNone
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
	if obj.Sandbox == nil {
		return nil
	}
	var names []string
	for _, ref := range obj.Sandbox.References() {
		if s[ref.Key] == nil && !ref.Optional {
			names = append(names, ref.Key.Kind+"/"+ref.Key.Name)
		}
	}
	return names
}
