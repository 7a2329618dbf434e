package manifests

import "regexp"

// The words of a document that does not parse, wherever the damage is: the
// top-level kind, and name and namespace inside metadata, in block style, flow
// style or JSON.
var (
	guessKind      = regexp.MustCompile(`(?m)(?:^[ \t{]{0,8}"?|[{,][ \t]*")kind"?[ \t]*:[ \t]*["']?([A-Za-z]+)`)
	guessMetadata  = regexp.MustCompile(`(?m)(?:^[ \t{]{0,8}"?|[{,][ \t]*")metadata"?[ \t]*:`)
	guessName      = regexp.MustCompile(`(?:^|[\s{,])"?name"?[ \t]*:[ \t]*["']?([a-z0-9][a-z0-9.-]*)["']?[ \t]*(?:[\r\n,}#]|$)`)
	guessNamespace = regexp.MustCompile(`(?:^|[\s{,])"?namespace"?[ \t]*:[ \t]*["']?([a-z0-9][a-z0-9-]*)["']?[ \t]*(?:[\r\n,}#]|$)`)
	guessSection   = regexp.MustCompile(`(?m)^[A-Za-z"]|(?:^[ \t]*|[{,][ \t]*)"(?:spec|status|data|stringData|kind|apiVersion)"`)
)

// guessKey reads which object a document that does not parse is about, or
// returns nil. A name that may be cut off counts only if its line is complete.
func guessKey(text []byte) *Key {
	const enough = 64 << 10 // people write the head first
	text = text[:min(len(text), enough)]
	kind := guessKind.FindSubmatch(text)
	at := guessMetadata.FindIndex(text)
	if kind == nil || at == nil {
		return nil
	}
	metadata := text[at[1]:]
	if end := guessSection.FindIndex(metadata); end != nil {
		metadata = metadata[:end[0]]
	}
	name := guessName.FindSubmatchIndex(metadata)
	if name == nil || name[1] == len(metadata) && at[1]+name[1] == len(text) && name[1] == name[3] {
		return nil
	}
	key := &Key{Kind: keyKind(string(kind[1])), Namespace: DefaultNamespace, Name: string(metadata[name[2]:name[3]])}
	if ns := guessNamespace.FindSubmatch(metadata); ns != nil {
		key.Namespace = string(ns[1])
	}
	return key
}

// treeKey reads which object a document that parses is about.
func treeKey(root *node) *Key {
	metadata := root.get("metadata")
	name, kind := metadata.get("name").text(), root.get("kind").text()
	if name == "" || kind == "" {
		return nil
	}
	key := &Key{Kind: keyKind(kind), Namespace: DefaultNamespace, Name: name}
	if ns := metadata.get("namespace").text(); ns != "" {
		key.Namespace = ns
	}
	return key
}

// keyKind is the kind that a Key has for a document's kind; a misspelt kind
// counts as the one that was meant.
func keyKind(kind string) string {
	if known := Closest(kind, kindNames()); known != "" {
		kind = known
	}
	if kind == "Pod" {
		return KindSandbox
	}
	return kind
}
