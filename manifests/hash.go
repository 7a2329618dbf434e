package manifests

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// SpecHash is the hash of the sandbox's spec with its defaults: equal for two
// manifests that mean the same, whatever kind they are written as. Metadata and
// status are no part of it. It holds no secret, since a spec names secrets only.
func (s *Sandbox) SpecHash() string {
	spec, err := json.Marshal(s.Spec)
	if err != nil {
		// Only RuntimeData that is no JSON can do this, and Parse returns none.
		spec = []byte(err.Error())
	}
	sum := sha256.Sum256(spec)
	return hex.EncodeToString(sum[:])
}
