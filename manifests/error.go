package manifests

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with one document of a manifest file.
type Error struct {
	Position
	// Key is the object that the document describes, as far as can be told: a
	// document that does not even parse still has one if its kind and name can
	// be read. Nil if it cannot be told.
	Key *Key
	// Field is the path of the field, as "spec.containers[0].image"; empty when
	// the error is about the document or the file.
	Field string
	// Message says what is wrong, without position, object and field. It never
	// holds a value of a Secret.
	Message string
	// Suggestion is what was probably meant, or empty.
	Suggestion string
}

// Error returns "web.yaml:4:9: Sandbox default/web: spec.x: message (did you
// mean "y"?)".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Position.String())
	if e.Key != nil {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	if e.Field != "" {
		fmt.Fprintf(&b, ": %s", e.Field)
	}
	fmt.Fprintf(&b, ": %s", e.Message)
	if e.Suggestion != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", e.Suggestion)
	}
	return b.String()
}

// String returns "file:line:column", without the parts that are not known.
func (p Position) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
		if p.Column > 0 {
			s += fmt.Sprintf(":%d", p.Column)
		}
	}
	return s
}

// compare orders positions as they stand in a file.
func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

func sortErrors(errs []*Error) {
	slices.SortStableFunc(errs, func(a, b *Error) int {
		return cmp.Or(a.Position.compare(b.Position), strings.Compare(a.Field, b.Field))
	})
}
