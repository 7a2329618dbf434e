package manifests

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A checker holds a document's tree against a Go type: unknown fields, wrong
// types and fields that cannot be used, each at its place. What passes decodes
// without error.
type checker struct{ *report }

func (r *report) check(t reflect.Type) {
	checker{r}.value(r.root, t, nil)
}

func (c checker) value(n *node, t reflect.Type, path *field.Path) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.isNull() {
		return // as if it were not written
	}
	switch {
	case isLeaf(t):
		c.leaf(n, t, path)
	case t == reflect.TypeFor[[]byte]():
		c.base64(n, path)
	case t.Kind() == reflect.Struct:
		c.structure(n, t, path)
	case t.Kind() == reflect.Map:
		c.mapping(n, t, path)
	case t.Kind() == reflect.Slice:
		c.list(n, t, path)
	default:
		c.scalar(n, t, path)
	}
}

func (c checker) structure(n *node, t reflect.Type, path *field.Path) {
	if n.kind != mappingNode {
		c.wrongType(n, path, "a mapping")
		return
	}
	fields := c.types.fieldsOf(t)
	for _, e := range n.entries {
		info := find(fields, e.name)
		p := child(path, e.name)
		if info == nil {
			c.unknown(e, t, fields, p)
			continue
		}
		empty := isEmpty(e.value, info.typ)
		if message := info.use.refusal(e.name); message != "" && !empty {
			c.errorAt(e.key, p.String(), "%s", message)
			continue
		}
		if info.use.class == harmless && !empty {
			c.warnAt(e.key, p.String(), "has no effect here: %s", info.use.note)
		}
		c.value(e.value, info.typ, p)
	}
}

func (c checker) unknown(e entry, t reflect.Type, fields []fieldInfo, path *field.Path) {
	// A field that stands one floor too high is meant more often than one that
	// is merely spelt alike.
	meant := c.findBelow(t, e.name, 3)
	if meant == "" {
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.name
		}
		meant = Closest(e.name, names)
	}
	message := "unknown field"
	if meant == "" && (t == reflect.TypeFor[agentSandboxSpec]() || t == reflect.TypeFor[agentSandboxAlphaSpec]()) &&
		(e.name == "vm" || e.name == "dependsOn" || find(c.types.fieldsOf(reflect.TypeFor[VM]()), e.name) != nil) {
		message = "unknown field: what a Pod has not needs apiVersion " + APIVersion
	}
	c.didYouMeanAt(e.key, path.String(), meant, "%s", message)
}

// findBelow finds a field of this name inside the structs of t that are not in
// lists, and returns its path relative to t.
func (c checker) findBelow(t reflect.Type, name string, depth int) string {
	if depth == 0 || uses(t) == nil {
		return ""
	}
	for _, f := range c.types.fieldsOf(t) {
		inner := f.typ
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.use.class != supported || inner.Kind() != reflect.Struct || isLeaf(inner) {
			continue
		}
		if found := find(c.types.fieldsOf(inner), name); found != nil && found.use.class == supported {
			return f.name + "." + name
		}
		if below := c.findBelow(inner, name, depth-1); below != "" {
			return f.name + "." + below
		}
	}
	return ""
}

func (c checker) mapping(n *node, t reflect.Type, path *field.Path) {
	if n.kind != mappingNode {
		c.wrongType(n, path, "a mapping")
		return
	}
	for _, e := range n.entries {
		p := keyed(path, e.name)
		if e.key.plain && isOldBool(e.name) {
			c.errorAt(e.key, p.String(), "put it in quotes: Kubernetes reads it as true or false")
			continue
		}
		if e.value.isNull() && t.Elem().Kind() == reflect.String {
			c.errorAt(e.value, p.String(), `want a string, have null; write "" for an empty one`)
			continue
		}
		c.value(e.value, t.Elem(), p)
	}
}

func (c checker) list(n *node, t reflect.Type, path *field.Path) {
	if n.kind != sequenceNode {
		c.wrongType(n, path, "a list")
		return
	}
	for i, item := range n.items {
		p := path.Index(i)
		if item.isNull() {
			c.errorAt(item, p.String(), "a list's item must not be null")
			continue
		}
		c.value(item, t.Elem(), p)
	}
}

func (c checker) scalar(n *node, t reflect.Type, path *field.Path) {
	switch t.Kind() {
	case reflect.String:
		c.str(n, path)
	case reflect.Bool:
		if _, ok := n.value.(bool); n.kind != scalarNode || !ok {
			c.wrongType(n, path, "true or false")
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		v, ok := n.value.(int64)
		switch {
		case n.kind != scalarNode || !ok && !isUint(n):
			c.wrongType(n, path, "a whole number")
		case !ok || reflect.Zero(t).OverflowInt(v):
			c.errorAt(n, pathString(path), "the number is too large")
		}
	case reflect.Float64:
		switch n.value.(type) {
		case int64, uint64, float64:
		default:
			c.wrongType(n, path, "a number")
		}
	case reflect.Interface:
	default:
		c.errorAt(n, pathString(path), "is not supported yet")
	}
}

func isUint(n *node) bool {
	_, ok := n.value.(uint64)
	return ok
}

func (c checker) str(n *node, path *field.Path) {
	text, ok := n.value.(string)
	switch {
	case n.kind != scalarNode:
		c.wrongType(n, path, "a string")
	case !ok:
		c.errorAt(n, pathString(path), "want a string, have %s: put it in quotes", n.describe())
	case n.plain && isOldBool(text):
		c.errorAt(n, pathString(path), "put it in quotes: Kubernetes reads it as true or false")
	}
}

// isOldBool reports whether YAML 1.1, which Kubernetes reads, takes a word
// without quotes for a boolean where YAML 1.2 has a string.
func isOldBool(s string) bool {
	switch s {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return true
	}
	return false
}

// leaf checks a value whose type reads its own JSON.
func (c checker) leaf(n *node, t reflect.Type, path *field.Path) {
	err := json.Unmarshal(n.appendJSON(nil), reflect.New(t).Interface())
	if err == nil && t == reflect.TypeFor[resource.Quantity]() && n.value == "" {
		err = errors.New("empty")
	}
	if err == nil {
		return
	}
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		c.errorAt(n, pathString(path), `not a quantity; want for example "512Mi", "2" or "500m"`)
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		c.errorAt(n, pathString(path), `not a time; want for example "2026-12-24T18:00:00Z"`)
	default:
		c.errorAt(n, pathString(path), "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
}

func (c checker) base64(n *node, path *field.Path) {
	text, ok := n.value.(string)
	if !ok {
		c.wrongType(n, path, "a string in base64")
		return
	}
	if _, err := base64.StdEncoding.DecodeString(text); err != nil {
		c.errorAt(n, pathString(path), "not base64; plain text goes in stringData (Secret) or data (ConfigMap)")
	}
}

func (c checker) wrongType(n *node, path *field.Path, want string) {
	c.errorAt(n, pathString(path), "want %s, have %s", want, n.describe())
}

// isEmpty reports whether a value says no more than leaving the field out.
func isEmpty(n *node, t reflect.Type) bool {
	switch n.kind {
	case mappingNode:
		return len(n.entries) == 0
	case sequenceNode:
		return len(n.items) == 0
	}
	switch v := n.value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case int64:
		return v == 0 && t.Kind() != reflect.Pointer
	case float64:
		return v == 0 && t.Kind() != reflect.Pointer
	}
	return false
}

func find(fields []fieldInfo, name string) *fieldInfo {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

func child(path *field.Path, name string) *field.Path {
	if path == nil {
		return field.NewPath(name)
	}
	return path.Child(name)
}

func keyed(path *field.Path, name string) *field.Path {
	return path.Key(clip(name))
}
