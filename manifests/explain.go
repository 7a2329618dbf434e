package manifests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// FieldDoc says what a field of a kind is for.
type FieldDoc struct {
	// APIVersion and Kind that the field belongs to.
	APIVersion, Kind string
	Name             string
	// Type as in Go: "string", "[]Container", "map[string]string".
	Type        string
	Description string
	Required    bool
	// NoEffect says that the field may be written, and has no effect here.
	NoEffect bool
	// Enum are the values allowed, if they are few; Default is the one of a field
	// that is not written.
	Enum    []string
	Default string
	// Fields below it, by name; there are none below a field of no Object's type.
	Fields []*FieldDoc
}

// schemaNode is what Explain reads of a schema.
type schemaNode struct {
	Ref                  string                 `json:"$ref"`
	Type                 string                 `json:"type"`
	Const                string                 `json:"const"`
	Format               string                 `json:"format"`
	Description          string                 `json:"description"`
	Deprecated           bool                   `json:"deprecated"`
	Enum                 []any                  `json:"enum"`
	Default              any                    `json:"default"`
	Items                *schemaNode            `json:"items"`
	Properties           map[string]*schemaNode `json:"properties"`
	AdditionalProperties json.RawMessage        `json:"additionalProperties"`
	Required             []string               `json:"required"`
	AnyOf                []*schemaNode          `json:"anyOf"`
	OneOf                []*schemaNode          `json:"oneOf"`
	Defs                 map[string]*schemaNode `json:"$defs"`
}

// Explain documents the field at a path of a kind, as "spec", "containers"; no
// path is the kind itself. An empty apiVersion is the first that has the kind;
// case does not matter in a kind. The fields below are there to the given depth;
// a negative one is all of them.
func Explain(apiVersion, kind string, path []string, depth int) (*FieldDoc, error) {
	var root schemaNode
	if err := json.Unmarshal(schemaJSON, &root); err != nil {
		return nil, fmt.Errorf("read the embedded schema: %w", err)
	}
	x := explainer{defs: root.Defs}
	node, doc, err := x.document(root.OneOf, apiVersion, kind)
	if err != nil {
		return nil, err
	}
	at := strings.ToLower(doc.Kind)
	for _, name := range path {
		node = x.fields(node)
		next := node.Properties[name]
		if next == nil {
			return nil, unknownField(at, name, node)
		}
		doc = x.describe(doc, name, next, slices.Contains(node.Required, name))
		node, at = next, at+"."+name
	}
	x.below(doc, node, depth, nil)
	return doc, nil
}

func unknownField(at, name string, node *schemaNode) error {
	names := make([]string, 0, len(node.Properties))
	for n := range node.Properties {
		names = append(names, n)
	}
	slices.Sort(names)
	switch meant := Closest(name, names); {
	case len(names) == 0:
		return fmt.Errorf("%s has no fields", at)
	case meant != "":
		return fmt.Errorf("%s has no field %q (did you mean %q?)", at, clip(name), meant)
	}
	return fmt.Errorf("%s has no field %q that is supported here; it has %s", at, clip(name), strings.Join(names, ", "))
}

type explainer struct {
	defs map[string]*schemaNode
}

// document finds a kind.
func (x *explainer) document(kinds []*schemaNode, apiVersion, kind string) (*schemaNode, *FieldDoc, error) {
	var versions, names []string
	for _, n := range kinds {
		k, v := n.Properties["kind"].Const, n.Properties["apiVersion"].Const
		names = append(names, k)
		if !strings.EqualFold(k, kind) {
			continue
		}
		if apiVersion == "" || apiVersion == v {
			return n, &FieldDoc{APIVersion: v, Kind: k, Type: "Object", Description: n.Description}, nil
		}
		versions = append(versions, v)
	}
	if len(versions) > 0 {
		return nil, nil, fmt.Errorf("there is no kind %s in %q; it is in %s", kind, clip(apiVersion), strings.Join(versions, ", "))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if meant := Closest(kind, names); meant != "" {
		return nil, nil, fmt.Errorf("there is no kind %q (did you mean %q?)", clip(kind), meant)
	}
	return nil, nil, fmt.Errorf("there is no kind %q; the kinds are %s", clip(kind), strings.Join(names, ", "))
}

// fields is the node that has the fields of a node: its own, its items', or its
// values'.
func (x *explainer) fields(n *schemaNode) *schemaNode {
	for n != nil {
		switch {
		case n.Ref != "":
			n = x.defs[strings.TrimPrefix(n.Ref, "#/$defs/")]
		case n.Items != nil:
			n = n.Items
		case len(n.Properties) == 0 && values(n) != nil:
			n = values(n)
		default:
			return n
		}
	}
	return &schemaNode{}
}

// values is the node of a map's values.
func values(n *schemaNode) *schemaNode {
	var v schemaNode
	if len(n.AdditionalProperties) == 0 || n.AdditionalProperties[0] != '{' || json.Unmarshal(n.AdditionalProperties, &v) != nil {
		return nil
	}
	return &v
}

func (x *explainer) describe(of *FieldDoc, name string, n *schemaNode, required bool) *FieldDoc {
	doc := &FieldDoc{
		APIVersion: of.APIVersion, Kind: of.Kind, Name: name, Type: x.typeOf(n),
		Description: n.Description, Required: required, NoEffect: n.Deprecated,
	}
	for _, v := range n.Enum {
		if text := fmt.Sprint(v); text != "" {
			doc.Enum = append(doc.Enum, text)
		}
	}
	if n.Default != nil {
		doc.Default = fmt.Sprint(n.Default)
	}
	return doc
}

// below adds the fields below a node. Types that hold themselves are cut.
func (x *explainer) below(doc *FieldDoc, n *schemaNode, depth int, inside []*schemaNode) {
	fields := x.fields(n)
	if depth == 0 || slices.Contains(inside, fields) {
		return
	}
	names := make([]string, 0, len(fields.Properties))
	for name := range fields.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		child := x.describe(doc, name, fields.Properties[name], slices.Contains(fields.Required, name))
		x.below(child, fields.Properties[name], depth-1, append(slices.Clone(inside), fields))
		doc.Fields = append(doc.Fields, child)
	}
}

func (x *explainer) typeOf(n *schemaNode) string {
	switch {
	case n.Ref != "":
		return strings.TrimPrefix(n.Ref, "#/$defs/")
	case n.Items != nil:
		return "[]" + x.typeOf(n.Items)
	case len(n.AnyOf) > 0:
		return "Quantity"
	case n.Format == "date-time":
		return "Time"
	case n.Type == "object" && len(n.Properties) == 0 && values(n) != nil:
		return "map[string]" + x.typeOf(values(n))
	case n.Type == "object":
		return "Object"
	case n.Type == "":
		return "any"
	}
	return n.Type
}
