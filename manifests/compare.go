package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Compare says what differs between two versions of an object of any kind. A
// sandbox's fields are classed as by Classify; a change to another object is live,
// whatever it may mean for those that use it. No value of a Secret is told.
func Compare(oldObject, newObject *Object) Change {
	d := &differ{class: func(string) ChangeClass { return ChangeLive }}
	switch {
	case oldObject.Sandbox != nil && newObject.Sandbox != nil:
		d.fields = Classify(oldObject.Sandbox, newObject.Sandbox).Fields
		d.compare("apiVersion", oldObject.APIVersion, newObject.APIVersion)
		d.compare("kind", oldObject.Kind, newObject.Kind)
	case oldObject.Secret != nil && newObject.Secret != nil:
		d.compareManifests(oldObject.Manifest, newObject.Manifest, "data", "stringData")
		d.secrets(oldObject.Secret.Data, newObject.Secret.Data)
	default:
		d.compareManifests(oldObject.Manifest, newObject.Manifest)
	}
	return d.change()
}

// compareManifests compares documents as written, without some of their fields
// and without what names the object.
func (d *differ) compareManifests(a, b json.RawMessage, without ...string) {
	x, y := document(a), document(b)
	for _, name := range without {
		delete(x, name)
		delete(y, name)
	}
	for _, name := range slices.Sorted(maps.Keys(union(x, y))) {
		d.compare(name, x[name], y[name])
	}
}

func document(manifest json.RawMessage) map[string]any {
	m, _ := generic(manifest).(map[string]any)
	metadata, _ := m["metadata"].(map[string]any)
	delete(metadata, "name")
	delete(metadata, "namespace")
	delete(m, "status")
	return m
}

func (d *differ) secrets(a, b map[string][]byte) {
	for _, key := range slices.Sorted(maps.Keys(union(a, b))) {
		was, had := a[key]
		is, has := b[key]
		if had != has || string(was) != string(is) {
			d.fields = append(d.fields, FieldChange{
				Path: fmt.Sprintf("data[%s]", key), Old: hidden(had), New: hidden(has), Secret: true, Class: d.class("data"),
			})
		}
	}
}

func hidden(there bool) string {
	if !there {
		return ""
	}
	return `"<hidden>"`
}

func union[V any](a, b map[string]V) map[string]V {
	all := make(map[string]V, max(len(a), len(b)))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}
