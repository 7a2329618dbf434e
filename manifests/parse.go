package manifests

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	yaml "sigs.k8s.io/yaml/goyaml.v3"
)

// Parse reads all documents of one manifest file, YAML or JSON. The objects
// returned are valid and have their defaults; documents that are not are left
// out and reported, each with the errors found in it, in the order of the file.
// Objects and errors may both be returned: one bad document costs the others
// nothing. A file without documents has neither.
//
// file names the manifest in positions; local image paths are relative to its
// directory, and become absolute if file is.
//
// A Secret that SOPS has encrypted is checked as far as that goes without its
// key: it is Encrypted, and of no use but to be shown and compared.
func Parse(file string, data []byte) ([]Object, []*Error) {
	return ParseWithKeys(file, data, nil)
}

// ParseWithKeys is Parse with keys for Secrets that SOPS has encrypted: one that
// they do not open, or that was tampered with, is an error.
func ParseWithKeys(file string, data []byte, keys Keys) ([]Object, []*Error) {
	p := &parser{file: file, types: typeCache{}, keys: keys}
	p.parse(data)
	sortErrors(p.errs)
	return p.objects, p.errs
}

// A parser gathers the objects and errors of one file.
type parser struct {
	file    string
	types   typeCache
	objects []Object
	errs    []*Error
	count   int
	keys    Keys
	alone   bool // the file has one document
	// visit, if not nil, is given the trees instead.
	visit func(root *node)
}

func (p *parser) parse(data []byte) {
	if len(data) > MaxFileBytes {
		p.fail(1, 1, nil, "the file has %d bytes, more than the %d that a manifest may have", len(data), MaxFileBytes)
		return
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	chunks := split(data)
	p.alone = len(chunks) == 1
	for _, c := range chunks {
		if len(c.text) > maxDocumentBytes {
			p.fail(c.line+1, 1, guessKey(c.text), "the document has %d bytes; %d are the most", len(c.text), maxDocumentBytes)
			continue
		}
		if line, column, message, bad := badByte(c.text); bad {
			p.fail(line+c.line, column, guessKey(c.text), "%s", message)
			continue
		}
		docs, err := parseYAML(c)
		if err != nil {
			p.fail(err.line, err.column, guessKey(c.text), "%s", err.message)
			continue
		}
		for _, doc := range docs {
			if p.count++; p.count > maxDocuments {
				p.fail(doc.Line+c.line, doc.Column, nil, "more than %d documents in one file", maxDocuments)
				return
			}
			p.document(doc, c)
		}
	}
}

func (p *parser) fail(line, column int, key *Key, format string, args ...any) {
	p.errs = append(p.errs, &Error{
		Position: Position{File: p.file, Line: max(line, 1), Column: max(column, 1)},
		Key:      key,
		Message:  fmt.Sprintf(format, args...),
	})
}

func (p *parser) document(doc *yaml.Node, c chunk) {
	root, errs := buildTree(doc, c.line)
	if len(errs) > 0 {
		key := guessKey(c.text)
		if root != nil {
			key = treeKey(root)
		}
		for _, e := range errs[:min(len(errs), maxErrors)] {
			p.fail(e.line, e.column, key, "%s", e.message)
		}
		return
	}
	if root.isNull() {
		return
	}
	if root.get("kind").text() == "List" && root.get("apiVersion").text() == "v1" {
		p.list(root)
		return
	}
	p.object(root)
}

// list reads the items of a v1 List as documents of their own.
func (p *parser) list(root *node) {
	items := root.get("items")
	for _, e := range root.entries {
		switch e.name {
		case "apiVersion", "kind", "metadata", "items":
		default:
			p.fail(e.key.line, e.key.column, nil, "%s: unknown field of a List", e.name)
		}
	}
	if items.isNull() {
		return
	}
	if items.kind != sequenceNode {
		p.fail(items.line, items.column, nil, "items: want a list, have %s", items.describe())
		return
	}
	for _, item := range items.items {
		if p.count++; p.count > maxDocuments {
			p.fail(item.line, item.column, nil, "more than %d objects in one file", maxDocuments)
			return
		}
		p.object(item)
	}
}

// object turns a tree into an object, or reports why it cannot.
func (p *parser) object(root *node) {
	if p.visit != nil {
		p.visit(root)
		return
	}
	r := &report{file: p.file, types: p.types, root: root, key: treeKey(root), alone: p.alone}
	obj := r.object(p.keys)
	p.errs = append(p.errs, r.errs...)
	if len(r.errs) == 0 {
		p.objects = append(p.objects, obj)
	}
}

func (r *report) object(keys Keys) Object {
	if r.root.kind != mappingNode {
		r.errorAt(r.root, "", "want an object with apiVersion and kind, have %s", r.root.describe())
		return Object{}
	}
	encrypted := !r.root.get(sopsField).isNull()
	if encrypted {
		r.secret = true
		if r.unseal(keys); len(r.errs) > 0 {
			return Object{}
		}
	}
	k, ok := r.findKind()
	if !ok {
		return Object{}
	}
	r.secret = k.kind == KindSecret
	obj := Object{
		Position:   Position{File: r.file, Line: r.root.line, Column: r.root.column},
		APIVersion: k.apiVersion,
		Kind:       k.kind,
		Encrypted:  encrypted && keys == nil,
	}
	if r.check(k.document); len(r.errs) > 0 {
		return obj
	}
	document := r.root.appendJSON(nil)
	obj.Manifest = document
	if r.secret {
		obj.Manifest = r.root.redacted().appendJSON(nil)
	}
	if err := k.decode(document, &obj); err != nil {
		// The check lets nothing pass that does not decode; should it, this is
		// the answer rather than an object half read.
		r.errorAt(r.root, "", "cannot be decoded: %s", decodeError(err, r.secret))
		return obj
	}
	r.finish(k, &obj)
	obj.Warnings = r.warnings
	return obj
}

// decodeError is the text of an error of the JSON decoder without values.
func decodeError(err error, secret bool) error {
	if secret {
		return errors.New("a value has a wrong type")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// finish normalises a decoded object: fields without effect are dropped,
// defaults set, and the whole is validated.
func (r *report) finish(k kind, obj *Object) {
	switch {
	case obj.Sandbox != nil:
		s := obj.Sandbox
		r.types.dropHarmless(s)
		setNamespace(&s.ObjectMeta)
		obj.Key = Key{Kind: KindSandbox, Namespace: s.Namespace, Name: s.Name}
		r.validateSandboxKind(k)
		if dir := filepath.Dir(r.file); filepath.IsAbs(dir) {
			resolveImages(s, dir)
		}
		setDefaults(s)
		r.validateSandbox(s, podPath(k))
		for i := range s.Spec.DependsOn {
			n := r.locate(fmt.Sprintf("spec.dependsOn[%d]", i))
			obj.DependsOn = append(obj.DependsOn, Position{File: r.file, Line: n.line, Column: n.column})
		}
	case obj.ConfigMap != nil:
		r.types.dropHarmless(obj.ConfigMap)
		setNamespace(&obj.ConfigMap.ObjectMeta)
		obj.Key = Key{Kind: KindConfigMap, Namespace: obj.ConfigMap.Namespace, Name: obj.ConfigMap.Name}
		r.validateConfigMap(obj.ConfigMap)
	case obj.Secret != nil:
		r.types.dropHarmless(obj.Secret)
		setNamespace(&obj.Secret.ObjectMeta)
		obj.Key = Key{Kind: KindSecret, Namespace: obj.Secret.Namespace, Name: obj.Secret.Name}
		r.validateSecret(obj.Secret)
	case obj.Claim != nil:
		r.types.dropHarmless(obj.Claim)
		setNamespace(&obj.Claim.ObjectMeta)
		obj.Key = Key{Kind: KindPersistentVolumeClaim, Namespace: obj.Claim.Namespace, Name: obj.Claim.Name}
		setClaimDefaults(&obj.Claim.Spec)
		r.validateClaim(obj.Claim)
	case obj.SandboxTemplate != nil:
		r.finishSandboxTemplate(obj)
	case obj.RuntimeClass != nil:
		r.types.dropHarmless(obj.RuntimeClass)
		obj.Key = Key{Kind: KindRuntimeClass, Namespace: DefaultNamespace, Name: obj.RuntimeClass.Name}
		r.validateRuntimeClass(obj.RuntimeClass)
	case obj.Network != nil:
		n := obj.Network
		r.types.dropHarmless(n)
		setNamespace(&n.ObjectMeta)
		r.validateNetwork(n)
		obj.Key = NetworkKey(n.Name)
	case isWorkload(k.kind):
		r.finishWorkload(k, obj)
	}
}
