// Package manifests turns YAML and JSON files into objects: it knows every
// kind and field, decodes strictly with file, line and column in each error,
// sets defaults, validates, and says what a change to an object costs.
//
// It is pure: bytes in, objects and errors out. It reads no file, and it knows
// nothing of the reconciler, plugins or drivers.
//
// Parse is the way in. A file is cut into documents (split.go), each is parsed
// into a tree whose nodes know their places (syntax.go, tree.go), the tree is
// held against the Go type of its kind (kinds.go, check.go), then decoded, given
// its defaults (defaults.go) and validated (validate*.go). What may be in a
// document is decided in one place, field by field: fields.go and fields_pod.go.
// The checker, the JSON Schema, docs/reference.md and docs/compatibility.md all
// follow from it.
//
// Every VM is a Sandbox inside, whatever kind it was written as. On two of them,
// Classify tells what differs and what that costs; SpecHash and References tell
// whether one changed and which ConfigMaps and Secrets it needs.
package manifests
