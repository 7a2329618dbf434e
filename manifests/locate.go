package manifests

import "strings"

// Locate returns where a field of an object is written, for what is found wrong
// with it after Parse: file and data are what was given to Parse, object is what
// came of it. field is a path in our Sandbox, whatever kind the object was read
// from; the path returned is the one in that kind. The position is that of the
// field's value, or, if name is true, of its name; of the nearest thing around it
// that is written; and the object's own if the data has changed.
func Locate(file string, data []byte, object Object, field string, name bool) (at Position, written string) {
	at = object.Position
	p := &parser{file: file, types: typeCache{}}
	p.visit = func(root *node) {
		if root.line != object.Position.Line || root.column != object.Position.Column {
			return
		}
		r := &report{file: file, types: p.types, root: root}
		if k, ok := r.findKind(); ok {
			if rest, ok := strings.CutPrefix(field, "spec.podTemplate.spec"); ok {
				field = podPath(k).String() + rest
			}
		}
		n := r.locate(field)
		if name {
			n = r.locateName(field, n)
		}
		at = Position{File: file, Line: n.line, Column: n.column}
	}
	p.parse(data)
	return at, field
}

// locateName returns the node of a field's name, value's if it has none.
func (r *report) locateName(path string, value *node) *node {
	last, indexed := strings.CutSuffix(path, "]")
	end := strings.LastIndexByte(last, '.')
	if indexed {
		end = strings.LastIndexByte(last, '[')
	}
	if end < 0 {
		return value
	}
	last = last[end+1:]
	for _, e := range r.locate(path[:end]).entries {
		if e.name == last && e.value == value {
			return e.key
		}
	}
	return value
}
