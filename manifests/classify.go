package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// ChangeClass says what a change costs; a larger one costs more.
type ChangeClass int

// The classes of change.
const (
	// ChangeNone: nothing differs.
	ChangeNone ChangeClass = iota
	// ChangeLive: the VM and its processes go on undisturbed.
	ChangeLive
	// ChangeRecreate: the sandbox is made anew, with a new writable disk; a
	// workload's are, those that there are.
	ChangeRecreate
	// ChangeImmutable: the object cannot be changed so, and stays as it is.
	ChangeImmutable
)

// String returns "none", "live", "recreate" or "immutable".
func (c ChangeClass) String() string {
	switch c {
	case ChangeNone:
		return "none"
	case ChangeLive:
		return "live"
	case ChangeRecreate:
		return "recreate"
	case ChangeImmutable:
		return "immutable"
	}
	return fmt.Sprintf("ChangeClass(%d)", int(c))
}

// MarshalText is String.
func (c ChangeClass) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (c *ChangeClass) UnmarshalText(text []byte) error {
	for class := ChangeNone; class <= ChangeImmutable; class++ {
		if class.String() == string(text) {
			*c = class
			return nil
		}
	}
	return fmt.Errorf("there is no class of change %q", clip(string(text)))
}

// Change is the difference between two versions of an object.
type Change struct {
	// Class is the largest of those of Fields.
	Class  ChangeClass
	Fields []FieldChange
}

// FieldChange is one field that differs.
type FieldChange struct {
	// Path of the field; of a sandbox, of our kind, whatever kind it is written as.
	// Items of lists that have names go by them:
	// "spec.podTemplate.spec.containers[web].image".
	Path string `json:"path"`
	// Old and New are the values as JSON; empty where there is none. When they are
	// Secret, they only tell whether there is one.
	Old    string      `json:"old,omitempty"`
	New    string      `json:"new,omitempty"`
	Secret bool        `json:"secret,omitempty"`
	Class  ChangeClass `json:"class"`
}

// Classify says what differs between two versions of a sandbox, field by field,
// and what it costs to get from the one to the other. Fields are ordered by path.
func Classify(oldSandbox, newSandbox *Sandbox) Change {
	d := &differ{class: classOf}
	d.compare("metadata.labels", generic(oldSandbox.Labels), generic(newSandbox.Labels))
	d.compare("metadata.annotations", generic(oldSandbox.Annotations), generic(newSandbox.Annotations))
	d.compare("spec", generic(oldSandbox.Spec), generic(newSandbox.Spec))
	return d.change()
}

// classOf is the class of a change of one field, by its path without indices.
func classOf(path string) ChangeClass {
	switch path = withoutIndices(path); path {
	case "spec.operatingMode", "spec.shutdownTime", "spec.shutdownPolicy", "spec.progressDeadlineSeconds",
		"spec.podTemplate.spec.restartPolicy", "spec.podTemplate.spec.subdomain",
		"spec.podTemplate.spec.terminationGracePeriodSeconds",
		"spec.podTemplate.spec.containers.imagePullPolicy",
		"spec.podTemplate.spec.initContainers.imagePullPolicy":
		return ChangeLive
	}
	for _, live := range []string{
		"metadata.labels", "metadata.annotations", "spec.podTemplate.metadata",
		"spec.podTemplate.spec.imagePullSecrets",
		"spec.podTemplate.spec.containers.ports", "spec.podTemplate.spec.containers.startupProbe",
		"spec.podTemplate.spec.containers.livenessProbe", "spec.podTemplate.spec.containers.readinessProbe",
		"spec.podTemplate.spec.containers.resources", "spec.podTemplate.spec.dnsConfig", "spec.podTemplate.spec.hostAliases",
		"spec.dependsOn", "spec.volumeClaimTemplates.metadata", "spec.volumeClaimTemplates.spec.resources",
	} {
		if path == live || strings.HasPrefix(path, live+".") {
			return ChangeLive
		}
	}
	return ChangeRecreate
}

// withoutIndices takes what is in brackets out of a path.
func withoutIndices(path string) string {
	var b strings.Builder
	for path != "" {
		before, rest, found := strings.Cut(path, "[")
		b.WriteString(before)
		if !found {
			break
		}
		_, path, _ = strings.Cut(rest, "]")
	}
	return b.String()
}

// generic turns a value into what its JSON holds.
func generic(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		return err.Error()
	}
	return out
}

// A differ collects the fields in which two JSON values differ.
type differ struct {
	// class is that of a change of the field with this path.
	class  func(path string) ChangeClass
	fields []FieldChange
}

// change sums up what was found.
func (d *differ) change() Change {
	c := Change{Fields: d.fields}
	for _, f := range d.fields {
		c.Class = max(c.Class, f.Class)
	}
	slices.SortFunc(c.Fields, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
	return c
}

func (d *differ) compare(path string, a, b any) {
	if reflect.DeepEqual(a, b) {
		return
	}
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			d.maps(path, a, b)
			return
		}
	case []any:
		if b, ok := b.([]any); ok {
			d.lists(path, a, b)
			return
		}
	}
	d.fields = append(d.fields, FieldChange{Path: path, Old: show(a), New: show(b), Class: d.class(path)})
}

func (d *differ) maps(path string, a, b map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(union(a, b))) {
		if strings.ContainsAny(name, ".[]/") {
			d.compare(fmt.Sprintf("%s[%s]", path, name), a[name], b[name])
			continue
		}
		d.compare(path+"."+name, a[name], b[name])
	}
}

// lists compares items by name where all have one, else by place.
func (d *differ) lists(path string, a, b []any) {
	oldNames, oldItems := byName(a)
	newNames, newItems := byName(b)
	if oldItems == nil || newItems == nil {
		for i := range max(len(a), len(b)) {
			d.compare(fmt.Sprintf("%s[%d]", path, i), at(a, i), at(b, i))
		}
		return
	}
	before := len(d.fields)
	for _, name := range slices.Sorted(maps.Keys(union(oldItems, newItems))) {
		d.compare(fmt.Sprintf("%s[%s]", path, name), oldItems[name], newItems[name])
	}
	if len(d.fields) == before {
		// The order alone differs: of variables it matters, one may name another.
		d.fields = append(d.fields, FieldChange{
			Path: path, Old: show(oldNames), New: show(newNames), Class: d.class(path),
		})
	}
}

// byName returns the items of a list by their names, or nil if they have none
// of their own.
func byName(list []any) (names []any, items map[string]any) {
	items = make(map[string]any, len(list))
	for _, item := range list {
		m, _ := item.(map[string]any)
		name, _ := m["name"].(string)
		if _, twice := items[name]; twice || name == "" {
			return nil, nil
		}
		names, items[name] = append(names, name), item
	}
	return names, items
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// show is a value's JSON, empty for none.
func show(v any) string {
	if v == nil {
		return ""
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
