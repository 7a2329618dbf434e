package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	yaml "sigs.k8s.io/yaml/goyaml.v3"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Set gives a field of an object's document another value, which is JSON. It
// returns the file and the document alone. A number or word that is there already
// is replaced where it stands; else the document is written anew, with its
// comments.
func Set(file string, data []byte, key manifests.Key, field []string, value json.RawMessage) (edited, document []byte, err error) {
	f := parse(file, data)
	i, err := f.find(key)
	if err != nil {
		return nil, nil, err
	}
	var root, fresh yaml.Node
	if err := yaml.Unmarshal(f.text(i), &root); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := yaml.Unmarshal(value, &fresh); err != nil || len(fresh.Content) != 1 || len(root.Content) != 1 {
		return nil, nil, errors.Join(fmt.Errorf("set %s: no value", strings.Join(field, ".")), err)
	}
	plain(fresh.Content[0])
	at, err := put(root.Content[0], field, fresh.Content[0])
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %s: %w", file, strings.Join(field, "."), err)
	}
	document, ok := replaceWord(f.text(i), at, fresh.Content[0])
	if !ok {
		if document, err = encode(f.text(i), &root); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	c := f.chunks[i]
	edited = append(append(bytes.Clone(data[:c.start]), document...), data[c.end:]...)
	return edited, document, nil
}

// plain takes the marks of JSON off a value.
func plain(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	for _, c := range n.Content {
		plain(c)
	}
}

// put sets a field of a mapping and returns what was there; its kind is 0 if
// nothing was.
func put(n *yaml.Node, field []string, value *yaml.Node) (was yaml.Node, err error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return yaml.Node{}, errors.New("there is no mapping to set it in: edit the file")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != field[0] {
			continue
		}
		if len(field) > 1 {
			return put(n.Content[i+1], field[1:], value)
		}
		was = *n.Content[i+1]
		become(n.Content[i+1], value)
		return was, nil
	}
	if len(field) > 1 {
		return yaml.Node{}, errors.New("what it is in is not there: edit the file")
	}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: field[0]}, value)
	return yaml.Node{}, nil
}

// become makes a value another one. What of it stays the same keeps its place, its
// style and its comments.
func become(n, value *yaml.Node) {
	switch {
	case n.Kind != value.Kind || n.Anchor != "":
		head, line, foot := n.HeadComment, n.LineComment, n.FootComment
		*n = *value
		n.HeadComment, n.LineComment, n.FootComment = head, line, foot
	case n.Kind == yaml.ScalarNode:
		if n.Value != value.Value || n.Tag != value.Tag {
			n.Value, n.Tag = value.Value, value.Tag
		}
	case n.Kind == yaml.SequenceNode:
		for i := range min(len(n.Content), len(value.Content)) {
			become(n.Content[i], value.Content[i])
		}
		if len(n.Content) > len(value.Content) {
			n.Content = n.Content[:len(value.Content)]
		}
		n.Content = append(n.Content, value.Content[len(n.Content):]...)
	case n.Kind == yaml.MappingNode:
		var kept []*yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := entry(value, n.Content[i].Value); v != nil {
				become(n.Content[i+1], v)
				kept = append(kept, n.Content[i], n.Content[i+1])
			}
		}
		for i := 0; i+1 < len(value.Content); i += 2 {
			if entry(n, value.Content[i].Value) == nil {
				kept = append(kept, value.Content[i], value.Content[i+1])
			}
		}
		n.Content = kept
	}
}

// entry returns the value of a key of a mapping, nil if there is none.
func entry(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// replaceWord replaces one plain word of a document where it stands.
func replaceWord(document []byte, was yaml.Node, value *yaml.Node) ([]byte, bool) {
	if was.Kind != yaml.ScalarNode || was.Style != 0 || value.Kind != yaml.ScalarNode || was.Anchor != "" {
		return nil, false
	}
	start := 0
	for range was.Line - 1 {
		end := bytes.IndexByte(document[start:], '\n')
		if end < 0 {
			return nil, false
		}
		start += end + 1
	}
	start += was.Column - 1
	if start > len(document) || !bytes.HasPrefix(document[start:], []byte(was.Value)) {
		return nil, false // It stands after characters of several bytes.
	}
	rest := document[start+len(was.Value):]
	return append(append(bytes.Clone(document[:start]), value.Value...), rest...), true
}

// encode writes a document anew, with the marker and the indentation it had.
func encode(was []byte, root *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	if first, _, _ := bytes.Cut(was, []byte("\n")); isMarker(first) {
		out.WriteString("---\n")
	}
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if !indentsLists(was) {
		enc.CompactSeqIndent()
	}
	if err := enc.Encode(root); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

// indentsLists reports whether a document has its first list indented below its key.
func indentsLists(text []byte) bool {
	key := -1
	for line := range strings.Lines(string(text)) {
		bare := strings.TrimLeft(line, " ")
		indent := len(line) - len(bare)
		if strings.HasPrefix(bare, "- ") && key >= 0 {
			return indent > key
		}
		if key = -1; strings.HasSuffix(strings.TrimRight(bare, " \r\n"), ":") {
			key = indent
		}
	}
	return false
}

// Number is a number as Set takes it.
func Number(n int64) json.RawMessage { return json.RawMessage(strconv.FormatInt(n, 10)) }

// Patch describes for "git apply" how a file is changed in one place.
func Patch(file string, was, now []byte) string {
	const around = 3
	a, b := splitLines(was), splitLines(now)
	first := 0
	for first < len(a) && first < len(b) && a[first] == b[first] {
		first++
	}
	last := 0
	for last < len(a)-first && last < len(b)-first && a[len(a)-1-last] == b[len(b)-1-last] {
		last++
	}
	if first == len(a) && first == len(b) {
		return ""
	}
	from, after := max(first-around, 0), min(last, around)
	var out strings.Builder
	name := strings.TrimPrefix(file, "/")
	fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n@@ -%d,%d +%d,%d @@\n", name, name,
		from+1, len(a)-last+after-from, from+1, len(b)-last+after-from)
	write := func(mark string, lines []string) {
		for _, l := range lines {
			out.WriteString(mark + l)
			if !strings.HasSuffix(l, "\n") {
				out.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
	write(" ", a[from:first])
	write("-", a[first:len(a)-last])
	write("+", b[first:len(b)-last])
	write(" ", a[len(a)-last:len(a)-last+after])
	return out.String()
}

func splitLines(text []byte) []string {
	var lines []string
	for l := range strings.Lines(string(text)) {
		lines = append(lines, l)
	}
	return lines
}
