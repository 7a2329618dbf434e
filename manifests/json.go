package manifests

import (
	"encoding/json"
	"strconv"
)

// appendJSON writes a tree as JSON.
func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case mappingNode:
		b = append(b, '{')
		for i, e := range n.entries {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, e.name)
			b = append(b, ':')
			b = e.value.appendJSON(b)
		}
		return append(b, '}')
	case sequenceNode:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	}
	switch v := n.value.(type) {
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		text, err := json.Marshal(v)
		if err != nil { // the tree holds no NaN and no infinity
			return append(b, "null"...)
		}
		return append(b, text...)
	}
	return append(b, "null"...)
}

func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return append(b, `""`...)
	}
	return append(b, text...)
}

// redacted is the tree of a Secret without the values of its data.
func (n *node) redacted() *node {
	out := *n
	out.entries = make([]entry, len(n.entries))
	for i, e := range n.entries {
		if (e.name == "data" || e.name == "stringData") && e.value.kind == mappingNode {
			values := *e.value
			values.entries = make([]entry, len(e.value.entries))
			for j, v := range e.value.entries {
				values.entries[j] = entry{name: v.name, key: v.key, value: &node{value: ""}}
			}
			e.value = &values
		}
		out.entries[i] = e
	}
	return &out
}
