package manifests

import (
	"fmt"
	"math"

	yaml "sigs.k8s.io/yaml/goyaml.v3"
)

// Bounds of one file. They are far above what people write and far below what
// hurts.
const (
	// MaxFileBytes is the size of the largest file that is read.
	MaxFileBytes = 4 << 20
	// maxDocumentBytes has room for the largest ConfigMap, in base64.
	maxDocumentBytes = 2 << 20
	maxDocuments     = 2000
	maxDepth         = 100
	// maxNodes bounds a document after its aliases are expanded.
	maxNodes = 500_000
)

// A node is one value of a document: a scalar (nil, bool, int64, uint64,
// float64 or string), a mapping or a sequence. Aliases and merge keys are
// resolved, so that a node's tree may share parts with itself; it is not
// changed once it is built.
type node struct {
	kind         nodeKind
	line, column int
	// value is a scalar's.
	value any
	// plain says that a scalar is written without quotes.
	plain bool
	// entries are a mapping's, in the order they are written.
	entries []entry
	// items are a sequence's.
	items []*node
}

type nodeKind int

const (
	scalarNode nodeKind = iota
	mappingNode
	sequenceNode
)

type entry struct {
	name  string
	key   *node
	value *node
}

// get returns the value of a mapping's key, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, e := range n.entries {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// text returns a scalar string's value, or "".
func (n *node) text() string {
	if n == nil {
		return ""
	}
	s, _ := n.value.(string)
	return s
}

// isNull reports whether a node is absent or null.
func (n *node) isNull() bool {
	return n == nil || n.kind == scalarNode && n.value == nil
}

// describe names what a node holds, without its value: that may be a secret.
func (n *node) describe() string {
	switch n.kind {
	case mappingNode:
		return "a mapping"
	case sequenceNode:
		return "a list"
	}
	switch n.value.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case int64, uint64:
		return "a whole number"
	case float64:
		return "a number"
	}
	return "a string"
}

// A treeError is what is wrong with a document before its type matters.
type treeError struct {
	line, column int
	message      string
}

func (e *treeError) Error() string { return e.message }

// builder turns the parser's nodes into ours, resolving aliases and merge keys.
type builder struct {
	lines int // lines of the file before this document
	count int // nodes so far, each alias counting as all that it stands for
	errs  []*treeError
	// sizes counts the nodes under each anchor; 0 while it is being built.
	sizes map[*yaml.Node]int
	built map[*yaml.Node]*node
}

func buildTree(root *yaml.Node, lines int) (*node, []*treeError) {
	b := &builder{lines: lines, sizes: map[*yaml.Node]int{}, built: map[*yaml.Node]*node{}}
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	return b.node(root, 0), b.errs
}

func (b *builder) fail(y *yaml.Node, format string, args ...any) {
	b.errs = append(b.errs, &treeError{line: y.Line + b.lines, column: y.Column, message: fmt.Sprintf(format, args...)})
}

// node returns nil after a failure that ends the building: the rest of the
// document would only repeat it.
func (b *builder) node(y *yaml.Node, depth int) *node {
	if depth > maxDepth {
		b.fail(y, "nested more than %d deep", maxDepth)
		return nil
	}
	if b.count++; b.count > maxNodes {
		b.fail(y, "more than %d values, counting aliases as what they stand for", maxNodes)
		return nil
	}
	n := &node{line: y.Line + b.lines, column: y.Column}
	var ok bool
	switch y.Kind {
	case yaml.AliasNode:
		return b.alias(y, depth)
	case yaml.ScalarNode:
		ok = b.scalar(y, n)
	case yaml.SequenceNode:
		n.kind = sequenceNode
		ok = b.anchored(y, func() bool { return b.sequence(y, n, depth) })
	case yaml.MappingNode:
		n.kind = mappingNode
		ok = b.anchored(y, func() bool { return b.mapping(y, n, depth) })
	default:
		b.fail(y, "not a YAML value")
	}
	if !ok {
		return nil
	}
	if y.Anchor != "" {
		b.built[y] = n
	}
	return n
}

// anchored builds a collection and, if it has an anchor, notes its size.
func (b *builder) anchored(y *yaml.Node, build func() bool) bool {
	if y.Anchor == "" {
		return build()
	}
	before := b.count
	ok := build()
	b.sizes[y] = b.count - before + 1
	return ok
}

func (b *builder) alias(y *yaml.Node, depth int) *node {
	target := b.built[y.Alias]
	if target == nil {
		b.fail(y, "the alias *%s stands inside its own anchor", y.Value)
		return nil
	}
	if b.count += b.sizes[y.Alias]; b.count > maxNodes {
		b.fail(y, "more than %d values, counting aliases as what they stand for", maxNodes)
		return nil
	}
	if depth+height(target, maxDepth) > maxDepth {
		b.fail(y, "nested more than %d deep", maxDepth)
		return nil
	}
	return target
}

// height is the depth of a tree, as far as limit.
func height(n *node, limit int) int {
	deepest := 0
	if limit == 0 {
		return 1
	}
	for _, e := range n.entries {
		deepest = max(deepest, height(e.value, limit-1)+1)
	}
	for _, item := range n.items {
		deepest = max(deepest, height(item, limit-1)+1)
	}
	return deepest
}

func (b *builder) sequence(y *yaml.Node, n *node, depth int) bool {
	n.items = make([]*node, 0, len(y.Content))
	for _, c := range y.Content {
		item := b.node(c, depth+1)
		if item == nil {
			return false
		}
		n.items = append(n.items, item)
	}
	return true
}

func (b *builder) mapping(y *yaml.Node, n *node, depth int) bool {
	var merged []*node
	lines := make(map[string]int, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.ShortTag() == "!!merge" {
			m := b.node(v, depth+1)
			if m == nil {
				return false
			}
			merged = append(merged, m)
			continue
		}
		key := b.node(k, depth+1)
		if key == nil {
			return false
		}
		name, ok := keyName(key)
		if !ok {
			b.fail(k, "a key must be a string, this is %s", key.describe())
			return false
		}
		value := b.node(v, depth+1)
		if value == nil {
			return false
		}
		if first, twice := lines[name]; twice {
			b.fail(k, "duplicate key %q: it is already on line %d", name, first)
			continue
		}
		lines[name] = key.line
		n.entries = append(n.entries, entry{name: name, key: key, value: value})
	}
	for _, m := range merged {
		if !merge(n, m, lines) {
			b.fail(y, "only a mapping, or a list of mappings, can be merged with <<")
			return false
		}
	}
	return true
}

// merge adds the entries of m that n does not have.
func merge(n, m *node, lines map[string]int) bool {
	switch m.kind {
	case sequenceNode:
		for _, item := range m.items {
			if item.kind != mappingNode || !merge(n, item, lines) {
				return false
			}
		}
		return true
	case mappingNode:
		for _, e := range m.entries {
			if _, has := lines[e.name]; !has {
				lines[e.name] = e.key.line
				n.entries = append(n.entries, e)
			}
		}
		return true
	}
	return false
}

// keyName is a key as JSON has it: YAML's numbers and booleans are written out.
func keyName(key *node) (string, bool) {
	if key.kind != scalarNode {
		return "", false
	}
	switch v := key.value.(type) {
	case string:
		return v, true
	case bool, int64, uint64:
		return fmt.Sprint(v), true
	}
	return "", false
}

func (b *builder) scalar(y *yaml.Node, n *node) bool {
	n.plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
		n.value = y.Value
	case "!!null":
	case "!!bool", "!!int", "!!float":
		var v any
		if err := y.Decode(&v); err != nil {
			b.fail(y, "not a value of the tag %s", tag)
			return false
		}
		switch v := v.(type) {
		case int:
			n.value = int64(v)
		case bool, int64, uint64:
			n.value = v
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				b.fail(y, "%s is not a number that a manifest can have", y.Value)
				return false
			}
			n.value = v
		default:
			b.fail(y, "not a value of the tag %s", tag)
			return false
		}
	default:
		b.fail(y, "the tag %s is not supported", y.Tag)
		return false
	}
	return true
}
