package manifests

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxErrors bounds what is said of one document: the rest is seldom news.
const maxErrors = 50

// A report collects what is wrong with one document.
type report struct {
	file  string
	types typeCache
	root  *node
	key   *Key
	// secret says that no value of the document may be quoted.
	secret bool
	// alone says that the file has no other document.
	alone    bool
	errs     []*Error
	warnings []string
}

// errorAt reports an error at a node of the document.
func (r *report) errorAt(n *node, path, format string, args ...any) {
	r.didYouMeanAt(n, path, "", format, args...)
}

// didYouMeanAt reports an error at a node with what was probably meant, or "".
func (r *report) didYouMeanAt(n *node, path, meant, format string, args ...any) {
	if len(r.errs) == maxErrors {
		return
	}
	r.errs = append(r.errs, &Error{
		Position:   Position{File: r.file, Line: n.line, Column: n.column},
		Key:        r.key,
		Field:      path,
		Message:    fmt.Sprintf(format, args...),
		Suggestion: meant,
	})
}

// errorf reports an error in the field of this path, at its value, or, where it
// is not written, at the nearest thing around it that is.
func (r *report) errorf(path *field.Path, format string, args ...any) {
	r.didYouMean(path, "", format, args...)
}

// didYouMean is errorf with what was probably meant, or "".
func (r *report) didYouMean(path *field.Path, meant, format string, args ...any) {
	p := pathString(path)
	r.didYouMeanAt(r.locate(p), p, meant, format, args...)
}

// warnAt notes a field that has no effect.
func (r *report) warnAt(n *node, path, format string, args ...any) {
	if len(r.warnings) < maxErrors {
		at := Position{File: r.file, Line: n.line, Column: n.column}
		r.warnings = append(r.warnings, fmt.Sprintf("%s: %s: %s", at, path, fmt.Sprintf(format, args...)))
	}
}

// locate finds the node of a path such as "spec.containers[0].env" or
// "metadata.labels[a.b/c]", or of as much of it as there is.
func (r *report) locate(path string) *node {
	n := r.root
	for path != "" {
		var next *node
		if rest, ok := strings.CutPrefix(path, "["); ok {
			var index string
			index, path, _ = strings.Cut(rest, "]")
			next = n.child(index)
		} else {
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			next = n.get(path[:end])
			path = path[end:]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// child is what an index in brackets means: a list's item or a map's entry.
func (n *node) child(index string) *node {
	if n.kind != sequenceNode {
		return n.get(index)
	}
	var i int
	if _, err := fmt.Sscanf(index, "%d", &i); err != nil || i < 0 || i >= len(n.items) {
		return nil
	}
	return n.items[i]
}

func pathString(path *field.Path) string {
	if path == nil {
		return ""
	}
	return path.String()
}

// clip shortens a value for a message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
