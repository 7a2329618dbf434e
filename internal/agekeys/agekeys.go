// Package agekeys opens what SOPS has encrypted with age: the data key of each
// file, with the private keys of one file on this host.
package agekeys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	// maxMessages is for how many recipients one file may be encrypted.
	maxMessages = 100
	// maxDataKey has room for the 32 bytes of a data key.
	maxDataKey = 1 << 10
	// shownRecipients is how many recipients an error names.
	shownRecipients = 3
)

// File names a file of age identities, as age-keygen and SOPS write it. It is
// read each time: a key that is added needs no restart. Empty: there is none.
type File string

// DataKey returns what the armored age messages hold, all the same, each for one
// recipient.
func (f File) DataKey(messages []string) ([]byte, error) {
	if f == "" {
		return nil, errors.New("no key was given: --sops-age-key-file names the file with it")
	}
	identities, err := f.read()
	if err != nil {
		return nil, err
	}
	if len(messages) > maxMessages {
		return nil, fmt.Errorf("it is encrypted for %d recipients; %d are the most", len(messages), maxMessages)
	}
	for _, m := range messages {
		key, err := open(m, identities)
		if none := (*age.NoIdentityMatchError)(nil); errors.As(err, &none) {
			continue
		}
		return key, err
	}
	return nil, fmt.Errorf("%s holds no key for it, only for %s: encrypt it for this one too (sops updatekeys), or add the right key to that file",
		string(f), recipients(identities))
}

// Check reports whether the file can be used.
func (f File) Check() error {
	if f == "" {
		return nil
	}
	_, err := f.read()
	return err
}

// Stamp changes whenever the file does.
func (f File) Stamp() string {
	if f == "" {
		return ""
	}
	fi, err := os.Stat(string(f))
	if err != nil {
		return "gone"
	}
	return fmt.Sprint(fi.Mode(), fi.Size(), fi.ModTime().UnixNano())
}

func (f File) read() ([]age.Identity, error) {
	data, err := state.ReadSecret(string(f))
	if err != nil {
		return nil, err
	}
	identities, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		// The library's error would quote a line of the file.
		return nil, fmt.Errorf("%s: not a file of age identities, lines that begin with AGE-SECRET-KEY-: make one with age-keygen -o FILE", string(f))
	}
	return identities, nil
}

func open(message string, identities []age.Identity) ([]byte, error) {
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(message)), identities...)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxDataKey))
}

// recipients are the public halves of identities, for people.
func recipients(identities []age.Identity) string {
	var names []string
	for _, i := range identities {
		switch i := i.(type) {
		case *age.X25519Identity:
			names = append(names, i.Recipient().String())
		case *age.HybridIdentity:
			names = append(names, i.Recipient().String())
		}
		if len(names) == shownRecipients {
			names = append(names, "…")
			break
		}
	}
	return strings.Join(names, ", ")
}
