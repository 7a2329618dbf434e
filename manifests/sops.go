package manifests

import (
	"cmp"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"
)

// Keys opens what Secrets are encrypted with.
type Keys interface {
	// DataKey returns what all of the age messages hold, in armor, each for another
	// recipient. The error says what to do; it quotes no secret.
	DataKey(messages []string) ([]byte, error)
}

// sopsField is the field in which SOPS keeps what it needs to decrypt a document.
const sopsField = "sops"

// sopsCommand is how to encrypt a Secret so that it is still known for one.
const sopsCommand = "sops --encrypt --encrypted-regex '^(data|stringData)$'"

// sopsOnlyEncrypted begins the MAC of a file where only what is encrypted is part
// of it. It is SOPS' constant.
const sopsOnlyEncrypted = "\x8a\x3f\xd2\xad\x54\xce\x66\x52\x7b\x10\x34\xf3\xd1\x47\xbe\x0b\x0b\x97\x5b\x3b\xf4\x4f\x72\xc6\xfd\xad\xec\x81\x76\xf2\x7d\x69"

// sealed is a document that SOPS has encrypted.
type sealed struct {
	*report
	block *node // of sopsField
	rule  sopsRule
	// Of the values, in their order:
	mac     hash.Hash
	onlyEnc bool
	dataKey []byte // nil: they are not opened
}

// unseal makes the document what it was before SOPS encrypted it. Without keys
// its encrypted values stay, as if they were meant. It reports what is wrong.
func (r *report) unseal(keys Keys) {
	s := &sealed{report: r, block: r.root.get(sopsField), mac: sha512.New()}
	if !s.onlyData() || !s.readRule() {
		return
	}
	if keys != nil && !s.readKey(keys) {
		return
	}
	if s.onlyEnc {
		s.mac.Write([]byte(sopsOnlyEncrypted))
	}
	opened := *r.root
	opened.entries = nil
	for _, e := range r.root.entries {
		if e.name == sopsField {
			continue
		}
		e.value = s.open(e.value, []string{e.name})
		opened.entries = append(opened.entries, e)
	}
	if len(r.errs) == 0 && s.dataKey != nil {
		s.checkMAC()
	}
	if len(r.errs) > 0 {
		return
	}
	r.root = &opened
}

// onlyData makes sure that the document is a Secret of which nothing but the data
// is encrypted.
func (s *sealed) onlyData() bool {
	if s.block.kind != mappingNode {
		s.errorAt(s.block, sopsField, "want a mapping, have %s", s.block.describe())
		return false
	}
	if kind := s.root.get("kind").text(); kind != "" && kind != KindSecret && !strings.HasPrefix(kind, sopsMark) {
		s.errorAt(s.block, sopsField, "a %s cannot be encrypted: only a Secret can", clip(kind))
		return false
	}
	for _, e := range s.root.entries {
		if e.name == "data" || e.name == "stringData" || e.name == sopsField {
			continue
		}
		if n := e.value.firstSealed(); n != nil {
			s.key = nil // It cannot be told.
			s.errorAt(n, e.name, "is encrypted: only data and stringData can be; encrypt the file with: %s", sopsCommand)
			return false
		}
	}
	return true
}

// firstSealed finds an encrypted value.
func (n *node) firstSealed() *node {
	if strings.HasPrefix(n.text(), sopsMark) {
		return n
	}
	for _, e := range n.entries {
		if found := e.value.firstSealed(); found != nil {
			return found
		}
	}
	for _, item := range n.items {
		if found := item.firstSealed(); found != nil {
			return found
		}
	}
	return nil
}

// readRule reads which values are encrypted.
func (s *sealed) readRule() bool {
	s.rule = suffixRule("_unencrypted", false)
	rules := 0
	for _, e := range s.block.entries {
		var err error
		switch text := e.value.text(); {
		case e.value.isNull() || text == "" && e.value.kind == scalarNode && e.name != "mac_only_encrypted":
			continue
		case e.name == "encrypted_regex":
			s.rule, err = regexRule(text, true)
		case e.name == "unencrypted_regex":
			s.rule, err = regexRule(text, false)
		case e.name == "encrypted_suffix":
			s.rule = suffixRule(text, true)
		case e.name == "unencrypted_suffix":
			s.rule = suffixRule(text, false)
		case e.name == "mac_only_encrypted":
			s.onlyEnc, _ = e.value.value.(bool)
			continue
		case e.name == "encrypted_comment_regex", e.name == "unencrypted_comment_regex":
			err = errors.New("not supported yet: use encrypted_regex")
		case e.name == "key_groups" && len(e.value.items) > 0:
			err = errors.New("not supported yet: encrypt the data key for each of the recipients, in one group")
		default:
			continue
		}
		if rules++; err == nil && rules > 1 {
			err = errors.New("there is another rule already")
		}
		if err != nil {
			s.errorAt(e.value, sopsField+"."+e.name, "%s", err)
			return false
		}
	}
	return true
}

// readKey has the data key opened.
func (s *sealed) readKey(keys Keys) bool {
	recipients := s.block.get("age")
	if recipients.isNull() || len(recipients.items) == 0 {
		s.errorAt(s.block, sopsField, "is encrypted for no age key: encrypt it for one: sops --age RECIPIENT")
		return false
	}
	var messages []string
	for _, item := range recipients.items {
		messages = append(messages, item.get("enc").text())
	}
	key, err := keys.DataKey(messages)
	const size = 32
	if err == nil && len(key) != size {
		err = fmt.Errorf("the data key has %d bytes instead of %d", len(key), size)
	}
	if err != nil {
		s.errorAt(recipients, sopsField+".age", "cannot be decrypted: %s", err)
		return false
	}
	s.dataKey = key
	return true
}

// open returns a value as it was, and takes it into the MAC.
func (s *sealed) open(n *node, path []string) *node {
	if n.kind == scalarNode {
		return s.openScalar(n, path)
	}
	out := *n
	out.entries, out.items = make([]entry, len(n.entries)), make([]*node, len(n.items))
	for i, e := range n.entries {
		e.value = s.open(e.value, append(slices.Clip(path), e.name))
		out.entries[i] = e
	}
	for i, item := range n.items {
		out.items[i] = s.open(item, path)
	}
	return &out
}

func (s *sealed) openScalar(n *node, path []string) *node {
	if n.value == nil {
		return n
	}
	if !s.rule.encrypted(path) {
		if !s.onlyEnc {
			s.mac.Write(sopsBytes(n.value, n.plain))
		}
		return n
	}
	field := path[0]
	if len(path) > 1 {
		field += "[" + clip(path[1]) + "]"
	}
	text, isText := n.value.(string)
	switch {
	case isText && text == "": // SOPS leaves it as it is.
		return n
	case !isText || !sopsValue.MatchString(text):
		s.errorAt(n, field, "is not encrypted, though the rule of this file says so: write it with: sops edit FILE")
		return n
	case s.dataKey == nil:
		if path[0] == "data" { // where only base64 is good
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
		return &node{line: n.line, column: n.column, value: text}
	}
	v, err := openSops(text, s.dataKey, strings.Join(path, ":")+":")
	if err != nil {
		s.errorAt(n, field, "has been changed or moved since it was encrypted: restore the file, or write it anew with: sops edit FILE")
		return n
	}
	s.mac.Write(sopsBytes(v, false))
	return &node{line: n.line, column: n.column, value: v}
}

// checkMAC makes sure that no value was changed, taken away or added.
func (s *sealed) checkMAC() {
	n := cmp.Or(s.block.get("mac"), s.block)
	modified, err := time.Parse(time.RFC3339, s.block.get("lastmodified").text())
	var want any
	if err == nil {
		want, err = openSops(n.text(), s.dataKey, modified.Format(time.RFC3339))
	}
	text, _ := want.(string)
	have := fmt.Sprintf("%X", s.mac.Sum(nil))
	if err == nil && subtle.ConstantTimeCompare([]byte(text), []byte(have)) == 1 {
		return
	}
	hint := "edit it with sops, never by hand"
	if !s.alone {
		hint += "; and give it a file of its own, for what was encrypted together with other documents cannot be told from that"
	}
	s.errorAt(n, sopsField+".mac", "the document has been changed since it was encrypted: restore it, and %s", hint)
}
