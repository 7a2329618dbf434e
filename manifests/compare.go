package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
)

// Compare says what differs between two versions of an object of any kind. A
// sandbox's fields are classed as by Classify, a workload's by what becomes of the
// sandboxes that it has made; a change to another object is live, whatever it may
// mean for those that use it. No value of a Secret is told.
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
	case oldObject.Job != nil && newObject.Job != nil:
		d.class = classOfJob
		d.compareWorkloads(oldObject, newObject, &oldObject.Job.Spec, &newObject.Job.Spec)
	case oldObject.CronJob != nil && newObject.CronJob != nil: // what it has made goes on as it is
		d.compareWorkloads(oldObject, newObject, &oldObject.CronJob.Spec, &newObject.CronJob.Spec)
	case oldObject.StatefulSet != nil && newObject.StatefulSet != nil:
		if spec := &newObject.StatefulSet.Spec; spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType {
			d.class = classOfStatefulSet
		}
		d.compareWorkloads(oldObject, newObject, &oldObject.StatefulSet.Spec, &newObject.StatefulSet.Spec)
	default:
		d.compareManifests(oldObject.Manifest, newObject.Manifest)
	}
	return d.change()
}

// classOfJob is classOf for a field of a Job.
func classOfJob(path string) ChangeClass {
	for _, name := range ImmutableJobFields() {
		if field := "spec." + name; path == field || strings.HasPrefix(path, field+".") {
			return ChangeImmutable
		}
	}
	return ChangeLive
}

// classOfStatefulSet is classOf for a field of a StatefulSet: its template costs
// each of its sandboxes what it would cost one with a manifest of its own.
func classOfStatefulSet(path string) ChangeClass {
	if field, ok := strings.CutPrefix(path, "spec.template."); ok {
		return classOf("spec.podTemplate." + field)
	}
	return ChangeLive
}

// compareWorkloads compares two versions of a workload, with their defaults.
func (d *differ) compareWorkloads(a, b *Object, specA, specB any) {
	d.compare("metadata.labels", generic(a.Meta().Labels), generic(b.Meta().Labels))
	d.compare("metadata.annotations", generic(a.Meta().Annotations), generic(b.Meta().Annotations))
	d.compare("spec", generic(specA), generic(specB))
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
