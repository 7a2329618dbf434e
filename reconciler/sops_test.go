package reconciler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

func TestEncryptedSecretThatCannotBeOpenedLeavesTheLastOneInForce(t *testing.T) {
	w := newWorld(t)
	fixture := func(name string) string {
		data, err := os.ReadFile("../manifests/testdata/sops/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	keyFile := filepath.Join(t.TempDir(), "age.key")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secretFile := filepath.Join(w.dir, "secret.yaml")
	key := manifests.Key{Kind: manifests.KindSecret, Namespace: "prod", Name: "db"}
	problemOf := func() string {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if c := w.m.configs[key]; c != nil && c.problem != nil {
			return c.problem.Message
		}
		return ""
	}
	user := func() string {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if c := w.m.configs[key]; c != nil && c.object != nil {
			return string(c.object.Secret.Data["user"])
		}
		return ""
	}
	// says waits for the problem with this text, and for the rest of it to be as
	// it should.
	says := func(want string) {
		t.Helper()
		w.until("a problem that says "+want, func() bool { w.m.opts.Source.Resync(); return strings.Contains(problemOf(), want) })
		if user() != "ann" {
			t.Errorf("the Secret is %q now", user())
		}
	}
	well := func() {
		t.Helper()
		w.until("no problem", func() bool { w.m.opts.Source.Resync(); return problemOf() == "" && user() == "ann" })
	}

	put(keyFile, fixture("age.key"))
	put(secretFile, fixture("secret.yaml"))
	put(filepath.Join(w.dir, "web.yaml"), strings.Replace(
		sandbox("web", "env: [{name: T, valueFrom: {secretKeyRef: {name: db, key: user}}}]"), "name: web", "name: web, namespace: prod", 1))
	w.startOnDisk(source.Options{Keys: agekeys.File(keyFile), Resync: 50 * time.Millisecond, Settle: 10 * time.Millisecond})
	w.until("web is ready", func() bool {
		v := w.m.lookup(manifests.Key{Kind: manifests.KindSandbox, Namespace: "prod", Name: "web"})
		return v != nil && isTrue(v.status.Conditions, manifests.ConditionReady)
	})
	well()

	if err := os.Chmod(keyFile, 0o640); err != nil {
		t.Fatal(err)
	}
	says(secretFile + ":24:9: Secret prod/db: sops.age: cannot be decrypted: " + keyFile + " is open to others (mode 0640): chmod 600 it")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	says("no such file")
	// The key is back, and the manifest as it was.
	put(keyFile, fixture("age.key"))
	well()
	put(secretFile, strings.Replace(fixture("secret.yaml"), "app: db", "app: web", 1))
	says("has been changed since it was encrypted")
	put(secretFile, fixture("secret.yaml"))
	well()

	if n := w.runtimes.launched("web"); n != 1 {
		t.Errorf("the sandbox was launched %d times", n)
	}
	for _, secret := range []string{"czNjcjN0", "s3cr3t", "correct horse"} {
		wantNowhere(t, string(w.state), secret)
	}
}
