package manifests

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"
)

// The files in testdata/sops are written by getsops/sops 3.13.3.
func sopsFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/sops/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// identities are Keys without a file.
type identities []age.Identity

func (i identities) DataKey(messages []string) ([]byte, error) {
	for _, m := range messages {
		if r, err := age.Decrypt(armor.NewReader(strings.NewReader(m)), i...); err == nil {
			return io.ReadAll(r)
		}
	}
	return nil, errors.New("no key for it")
}

func testKey(t *testing.T) identities {
	t.Helper()
	ids, err := age.ParseIdentities(strings.NewReader(sopsFile(t, "age.key")))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestEncryptedSecretIsDecrypted(t *testing.T) {
	want := map[string][]byte{
		"password":   []byte("s3cr3t\n"),
		"empty":      {},
		"config.ini": []byte("[db]\nuser = ann\npassword = correct horse\n"),
		"user":       []byte("ann"),
	}
	for _, name := range []string{"secret.yaml", "mac-only-encrypted.yaml"} {
		t.Run(name, func(t *testing.T) {
			objects, errs := ParseWithKeys(name, []byte(sopsFile(t, name)), testKey(t))
			if len(errs) > 0 {
				t.Fatal(texts(errs))
			}
			o := objects[0]
			if diff := cmp.Diff(want, o.Secret.Data); diff != "" {
				t.Error(diff)
			}
			if o.Encrypted || o.Key.String() != "Secret prod/db" || o.Secret.Annotations["port"] != "5432" {
				t.Errorf("%+v", o)
			}
			for _, hidden := range []string{"s3cr3t", "horse", "ENC[", "sops", "czNj"} {
				if strings.Contains(string(o.Manifest)+strings.Join(o.Warnings, " "), hidden) {
					t.Errorf("the manifest to be shown has %q: %s", hidden, o.Manifest)
				}
			}
		})
	}
}

func TestEncryptedSecretIsCheckedWithoutItsKey(t *testing.T) {
	o := one(t, sopsFile(t, "secret.yaml"))
	if !o.Encrypted || len(o.Secret.Data) != 4 {
		t.Errorf("%+v", o)
	}
	if bytes.Contains(o.Manifest, []byte("ENC[")) {
		t.Errorf("%s", o.Manifest)
	}
	bad := strings.Replace(sopsFile(t, "secret.yaml"), "    name: db", "    name: D_b", 1)
	if got := messages(t, bad); len(got) == 0 || !strings.Contains(got[0], "x.yaml:5:11: Secret prod/D_b: metadata.name") {
		t.Error(got)
	}
}

// Each is something that a hand, a merge or an attacker may do.
func TestChangedEncryptedSecretIsRefused(t *testing.T) {
	good := sopsFile(t, "secret.yaml")
	values := regexp.MustCompile(`ENC\[[^\]]*type:str\]`).FindAllString(good, -1)
	const mac = "Secret prod/db: sops.mac: the document has been changed since it was encrypted"
	for _, c := range []struct{ name, old, new, want string }{
		{"a plain field", "app: db", "app: web", "s.yaml:35:10: " + mac},
		{"a plain time", "03:04:05Z", "03:04:06Z", mac},
		{"the name", "name: db", "name: other", "has been changed since"},
		{"a field more", "type: Opaque", "type: Opaque\nimmutable: true", mac},
		{"a value taken away", "    user: " + values[2] + "\n", "", mac},
		{"values exchanged", values[1], values[2], "s.yaml:20:17: Secret prod/db: stringData[config.ini]: has been changed or moved"},
		{"a bit of a value", "data:Iyau", "data:Iyav", "s.yaml:21:11: Secret prod/db: stringData[user]: has been changed or moved"},
		{"a value cut off", values[2], values[2][:60], "stringData[user]: is not encrypted"},
		{"a plain value", values[2], "hunter2", "s.yaml:21:11: Secret prod/db: stringData[user]: is not encrypted"},
		{"a plain number", values[2], "7", "stringData[user]: is not encrypted"},
		{"the rule", "^(data|stringData)$", "^data$", mac},
		{"a rule that is none", "^(data|stringData)$", "(", "sops.encrypted_regex: error parsing regexp"},
		{"two rules", "    version:", "    unencrypted_suffix: x\n    version:", "there is another rule already"},
		{"rules by comments", "encrypted_regex", "encrypted_comment_regex", "not supported yet"},
		{"the time", `"2026-11-26`, `"2026-11-25`, mac},
		{"no time", "lastmodified", "modified", mac},
		{"no MAC", "    mac:", "    max:", mac},
		{"another MAC", values[3], values[2], mac},
		{"the data key", "YWdlLWVuY3J5", "YWdlLWVuY3J6", "s.yaml:24:9: Secret prod/db: sops.age: cannot be decrypted"},
		{"no age", "    age:", "    pgp:", "is encrypted for no age key"},
		{"another kind", "kind: Secret", "kind: ConfigMap", "a ConfigMap cannot be encrypted"},
		{"no mapping", "sops:", "sops: []\nother:", "sops: want a mapping, have a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("nothing is changed")
			}
			objects, errs := ParseWithKeys("s.yaml", []byte(text), testKey(t))
			got := strings.Join(texts(errs), "\n")
			if len(objects) > 0 || !strings.Contains(got, c.want) {
				t.Errorf("got %d objects and %s\nwant %s", len(objects), got, c.want)
			}
			for _, hidden := range []string{"s3cr3t", "horse", "hunter2", "ENC["} {
				if strings.Contains(got, hidden) {
					t.Errorf("%q is told: %s", hidden, got)
				}
			}
		})
	}
}

func TestWhatCannotBeEncryptedIsRefused(t *testing.T) {
	for name, want := range map[string]string{
		"whole.yaml":     `s.yaml:2:13: apiVersion: is encrypted: only data and stringData can be; encrypt the file with: sops --encrypt --encrypted-regex '^(data|stringData)$'`,
		"configmap.yaml": "a ConfigMap cannot be encrypted: only a Secret can",
		"two.yaml":       "give it a file of its own",
	} {
		objects, errs := ParseWithKeys("s.yaml", []byte(sopsFile(t, name)), testKey(t))
		if len(objects) > 0 || len(errs) == 0 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%s: %d objects, %q", name, len(objects), texts(errs))
		}
	}
}

func TestEncryptedSecretNeedsItsKey(t *testing.T) {
	_, errs := ParseWithKeys("s.yaml", []byte(sopsFile(t, "secret.yaml")), identities(nil))
	want := "s.yaml:24:9: Secret prod/db: sops.age: cannot be decrypted: no key for it"
	if len(errs) != 1 || errs[0].Error() != want || *errs[0].Key != (Key{KindSecret, "prod", "db"}) {
		t.Errorf("%q", texts(errs))
	}
}

func TestEncryptedSecretsAreComparedByWhatIsEncrypted(t *testing.T) {
	old, latest := one(t, sopsFile(t, "secret.yaml")), one(t, sopsFile(t, "mac-only-encrypted.yaml"))
	change := Compare(&old, &latest)
	for _, f := range change.Fields {
		if !f.Secret || strings.Contains(f.Old+f.New, "ENC[") {
			t.Errorf("%+v", f)
		}
	}
	if len(change.Fields) != 3 {
		t.Errorf("%+v", change.Fields)
	}
	if c := Compare(&old, &old); len(c.Fields) > 0 {
		t.Errorf("%+v", c)
	}
}

// FuzzSops: whatever a document says of itself, no value that was not encrypted
// with its key comes out of it, and nothing panics.
func FuzzSops(f *testing.F) {
	for _, name := range []string{"secret.yaml", "whole.yaml", "two.yaml"} {
		data, err := os.ReadFile("testdata/sops/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	key := fixedKey(bytes.Repeat([]byte{7}, 32))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, _ := ParseWithKeys("s.yaml", data, key)
		for _, o := range objects {
			if o.Encrypted {
				t.Error("left encrypted, though there is a key")
			}
		}
		Parse("s.yaml", data)
	})
}

type fixedKey []byte

func (k fixedKey) DataKey([]string) ([]byte, error) { return k, nil }
