package manifests

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// schemaJSON is generated from the types and the uses of their fields; see
// generate.go.
//
//go:embed schema.json
var schemaJSON []byte

// JSONSchema returns the JSON Schema (draft 2020-12) of a document of any kind
// that Parse reads: one of the kinds by apiVersion and kind, with the fields that
// are supported or have no effect. What spans several fields (names that must
// be different, limits against the VM's size) only Parse checks.
func JSONSchema() ([]byte, error) {
	if !json.Valid(schemaJSON) {
		return nil, fmt.Errorf("the embedded schema is not JSON; make it anew with go generate ./manifests")
	}
	return append([]byte(nil), schemaJSON...), nil
}
