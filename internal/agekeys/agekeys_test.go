package agekeys

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func keyFile(t *testing.T, mode os.FileMode, ids ...*age.X25519Identity) File {
	t.Helper()
	text := "# created: today\n"
	for _, id := range ids {
		text += id.String() + "\n"
	}
	path := filepath.Join(t.TempDir(), "keys.txt")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return File(path)
}

func message(t *testing.T, to *age.X25519Identity) string {
	t.Helper()
	var b bytes.Buffer
	a := armor.NewWriter(&b)
	w, err := age.Encrypt(a, to.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("the data key")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDataKeyIsOpenedByAnyOfTheKeys(t *testing.T) {
	ours, theirs := identity(t), identity(t)
	f := keyFile(t, 0o600, identity(t), ours)
	key, err := f.DataKey([]string{message(t, theirs), message(t, ours)})
	if err != nil || string(key) != "the data key" {
		t.Errorf("%q, %v", key, err)
	}
}

func TestWhatIsWrongWithAKeyIsTold(t *testing.T) {
	ours, theirs := identity(t), identity(t)
	good := keyFile(t, 0o600, ours)
	garbled := keyFile(t, 0o600)
	if err := os.WriteFile(string(garbled), []byte("AGE-SECRET-KEY-1TOPSECRET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		file     File
		messages []string
		want     string
	}{
		{"none given", "", []string{message(t, ours)}, "--sops-age-key-file"},
		{"missing", good + "x", []string{message(t, ours)}, "no such file"},
		{"open to the group", keyFile(t, 0o640, ours), []string{message(t, ours)}, "is open to others (mode 0640): chmod 600 it"},
		{"no identities", garbled, []string{message(t, ours)}, "not a file of age identities"},
		{"another's", good, []string{message(t, theirs)}, "only for " + ours.Recipient().String() + ": encrypt it for this one too"},
		{"no message", good, nil, "holds no key for it"},
		{"garbled message", good, []string{"garbage"}, "armor"},
		{"too many messages", good, make([]string, maxMessages+1), "100 are the most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := c.file.DataKey(c.messages)
			if key != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%q, %v", key, err)
			}
			if strings.Contains(err.Error(), "AGE-SECRET-KEY-1") {
				t.Errorf("the key is told: %v", err)
			}
		})
	}
}

func TestStampTellsOfAnotherKey(t *testing.T) {
	f := keyFile(t, 0o600, identity(t))
	was := f.Stamp()
	if f.Stamp() != was {
		t.Error("it changes by itself")
	}
	if err := os.WriteFile(string(f), []byte(identity(t).String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if f.Stamp() == was {
		t.Error("another file, the same stamp")
	}
	if err := os.Remove(string(f)); err != nil {
		t.Fatal(err)
	}
	if f.Stamp() != "gone" || File("").Stamp() != "" {
		t.Error("a missing file")
	}
}
