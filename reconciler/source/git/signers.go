package git

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// signer is a line of OpenSSH's allowed_signers.
type signer struct {
	principals string
	key        ssh.PublicKey
	after      time.Time // zero: ever since
	before     time.Time // zero: for ever
}

// namespace is what git has ssh-keygen sign for.
const namespace = "git"

// parseSigners reads allowed signers, in the format of ssh-keygen(1). Keys that
// may not sign for git are left out.
func parseSigners(file string, data []byte) ([]signer, error) {
	var all []signer
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		s, ok, err := parseSigner(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		if ok {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no key in it may sign for git", file)
	}
	return all, nil
}

// parseSigner reads a line: principals, options, key. ok is false if the key may
// not sign for git.
func parseSigner(line string) (s signer, ok bool, err error) {
	principals, rest, found := cutField(line)
	if !found {
		return s, false, errors.New("want PRINCIPALS [OPTIONS] KEYTYPE KEY")
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, false, fmt.Errorf("no key: %w", err)
	}
	s, ok = signer{principals: principals, key: key}, true
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			ok = slices.ContainsFunc(strings.Split(value, ","), func(ns string) bool { return ns == namespace || ns == "*" })
		case "valid-after":
			s.after, err = signerTime(value)
		case "valid-before":
			s.before, err = signerTime(value)
		default: // cert-authority above all
			err = fmt.Errorf("option %s is not supported", name)
		}
		if err != nil {
			return s, false, err
		}
	}
	return s, ok, nil
}

// cutField cuts the first field off, which may be in quotes.
func cutField(line string) (field, rest string, found bool) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		field, rest, found = strings.Cut(quoted, `"`)
	} else if i := strings.IndexAny(line, " \t"); i > 0 {
		field, rest, found = line[:i], line[i:], true
	}
	return field, strings.TrimSpace(rest), found
}

// signerTime reads YYYYMMDD[HHMM[SS]][Z]; without Z it is local.
func signerTime(text string) (time.Time, error) {
	zone := time.Local
	digits, utc := strings.CutSuffix(text, "Z")
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time (YYYYMMDD[HHMM[SS]][Z])", text)
}

// checkSSH says who signed, if one of the signers did.
func checkSSH(signers []signer, c *Commit, payload, signature []byte) (string, error) {
	sig, err := sshsig.Unarmor(signature)
	if err != nil {
		return "", fmt.Errorf("its SSH signature cannot be read: %w", err)
	}
	// ssh-keygen refuses these too: they rest on SHA-1.
	if f := sig.Signature.Format; f == ssh.KeyAlgoRSA || f == "ssh-dss" {
		return "", fmt.Errorf("its SSH signature is of the outdated kind %s", f)
	}
	fingerprint := ssh.FingerprintSHA256(sig.PublicKey)
	known := false
	for _, s := range signers {
		if !bytes.Equal(s.key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		known = true
		if !s.after.IsZero() && c.Time.Before(s.after) || !s.before.IsZero() && !c.Time.Before(s.before) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(payload), sig, s.key, sig.HashAlgorithm, namespace); err != nil {
			return "", fmt.Errorf("its SSH signature is wrong: %w", err)
		}
		return s.principals, nil
	}
	if known {
		return "", fmt.Errorf("the SSH key %s was not valid when it was committed", fingerprint)
	}
	return "", fmt.Errorf("the SSH key %s is not among the allowed signers", fingerprint)
}
