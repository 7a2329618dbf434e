package git

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// Verify names the files that say who may sign commits. If both are empty, a
// commit need not be signed; if both are given, either will do.
type Verify struct {
	// AllowedSigners has SSH keys, in the format of ssh-keygen(1).
	AllowedSigners string
	// GPGKeyring has OpenPGP public keys, armored or not.
	GPGKeyring string
}

// Required reports whether commits must be signed.
func (v Verify) Required() bool { return v != Verify{} }

// Load reads the files.
func (v Verify) Load() (*Verifier, error) {
	var keys Verifier
	if v.AllowedSigners != "" {
		data, err := state.ReadTrusted(v.AllowedSigners)
		if err != nil {
			return nil, fmt.Errorf("allowed signers: %w", err)
		}
		if keys.signers, err = parseSigners(v.AllowedSigners, data); err != nil {
			return nil, fmt.Errorf("allowed signers: %w", err)
		}
	}
	if v.GPGKeyring != "" {
		data, err := state.ReadTrusted(v.GPGKeyring)
		if err != nil {
			return nil, fmt.Errorf("GPG keyring: %w", err)
		}
		if keys.ring, err = parseKeyring(data); err != nil {
			return nil, fmt.Errorf("GPG keyring %s: %w", v.GPGKeyring, err)
		}
	}
	return &keys, nil
}

// parseKeyring reads keys as "gpg --export" writes them, or several such files
// with "--armor" one after the other.
func parseKeyring(data []byte) (openpgp.EntityList, error) {
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	blocks := bytes.Split(data, []byte(begin))
	if len(blocks) == 1 {
		return openpgp.ReadKeyRing(bytes.NewReader(data))
	}
	var ring openpgp.EntityList
	for _, b := range blocks[1:] {
		more, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(append([]byte(begin), b...)))
		if err != nil {
			return nil, err
		}
		ring = append(ring, more...)
	}
	return ring, nil
}

// Verifier knows who may sign commits.
type Verifier struct {
	signers []signer
	ring    openpgp.EntityList
}

// Check returns who signed a commit. The error says why it was none of those who
// may.
func (v *Verifier) Check(c *Commit) (string, error) {
	payload, signature, err := splitSignature(c.Raw)
	if err != nil {
		return "", err
	}
	switch {
	case bytes.HasPrefix(signature, []byte("-----BEGIN SSH SIGNATURE-----")):
		if v.signers == nil {
			return "", errors.New("it is signed with an SSH key, and no SSH keys are allowed signers")
		}
		return checkSSH(v.signers, c, payload, signature)
	case bytes.HasPrefix(signature, []byte("-----BEGIN PGP ")):
		if v.ring == nil {
			return "", errors.New("it is signed with an OpenPGP key, and there is no keyring")
		}
		return v.checkPGP(payload, signature)
	}
	return "", errors.New("its signature is of a kind that is not supported")
}

func (v *Verifier) checkPGP(payload, signature []byte) (string, error) {
	entity, err := openpgp.CheckArmoredDetachedSignature(v.ring, bytes.NewReader(payload), bytes.NewReader(signature), nil)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", errors.New("its OpenPGP key is not in the keyring")
	case err != nil:
		return "", fmt.Errorf("its OpenPGP signature is not good: %w", err)
	}
	if id := entity.PrimaryIdentity(); id != nil {
		return printable(id.Name), nil
	}
	return entity.PrimaryKey.KeyIdString(), nil
}
