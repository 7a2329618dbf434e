package git

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// signWithSSH makes the repository sign with a new key, which is returned.
func (r *repo) signWithSSH() string {
	r.t.Helper()
	signer, file := newKey(r.t)
	public := string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	if err := os.WriteFile(file+".pub", []byte(public), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingkey", file)
	return strings.TrimSpace(public)
}

// signWithGPG makes the repository sign with a new key, and returns a keyring
// with it.
func (r *repo) signWithGPG(armored bool) []byte {
	r.t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		r.t.Skip("gpg is not installed")
	}
	// Its socket must have a short name.
	home, err := os.MkdirTemp("", "vzg")
	if err != nil {
		r.t.Fatal(err)
	}
	r.home = home
	gpg := func(args ...string) []byte {
		r.t.Helper()
		cmd := exec.CommandContext(r.t.Context(), "gpg", append([]string{"--homedir", home, "--batch", "-q"}, args...)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			r.t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, &errs)
		}
		return out
	}
	r.t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() //nolint:noctx // the test's context has ended
		_ = os.RemoveAll(home)
	})
	gpg("--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key", "Ann <ann@example.com>", "ed25519", "sign", "never")
	r.git("config", "gpg.format", "openpgp")
	r.git("config", "user.signingkey", "ann@example.com")
	if armored {
		return gpg("--armor", "--export")
	}
	return gpg("--export")
}

// check returns who signed the commit that the branch is at.
func check(t *testing.T, r *repo, v Verify) (string, error) {
	t.Helper()
	keys, err := v.Load()
	if err != nil {
		t.Fatal(err)
	}
	return keys.Check(r.head())
}

func TestCommitsSignedWithSSH(t *testing.T) {
	r := newRepo(t)
	key := r.signWithSSH()
	other, _ := newKey(t)
	stranger := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(other.PublicKey())))
	r.commit("-S")
	for signers, want := range map[string]string{
		"ann@example.com " + key:                                 "ann@example.com",
		"# x\n\nbob " + stranger + "\n\"ann, x\" " + key + " me": "ann, x",
		"ann namespaces=\"file,git\" " + key:                     "ann",
		"ann valid-after=\"20200101\" " + key:                    "ann",
		"ann valid-before=\"20200101\" " + key + "\nann2 " + key: "ann2",
		"bob " + stranger:                                        "!is not among the allowed signers",
		"ann valid-before=\"20200101Z\" " + key:                  "!was not valid when it was committed",
		"ann valid-after=\"299912312359\" " + key:                "!was not valid when it was committed",
	} {
		got, err := check(t, r, Verify{AllowedSigners: write(t, signers, 0o644)})
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want && (want[0] != '!' || !strings.Contains(got, want[1:])) {
			t.Errorf("%q: %s, want %s", signers, got, want)
		}
	}
	signers := Verify{AllowedSigners: write(t, "ann "+key, 0o644)}

	keys, err := signers.Load()
	if err != nil {
		t.Fatal(err)
	}
	forged := *r.head()
	forged.Raw = bytes.Replace(forged.Raw, []byte("change"), []byte("chance"), 1)
	if _, err := keys.Check(&forged); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("a commit that was changed: %v", err)
	}
	r.commit("--no-gpg-sign")
	if _, err := check(t, r, signers); err == nil || err.Error() != "it is not signed" {
		t.Errorf("unsigned: %v", err)
	}
	r.signWithGPG(true)
	r.commit("-S")
	if _, err := check(t, r, signers); err == nil || !strings.Contains(err.Error(), "there is no keyring") {
		t.Errorf("signed with GPG: %v", err)
	}
}

func TestASignatureMadeForSomethingElseIsRefused(t *testing.T) {
	r := newRepo(t)
	key := r.signWithSSH()
	// As if somebody had been brought to sign a file that looks like a commit.
	wrapper := write(t, "#!/bin/sh\nset -- \"$@\"\nargs=\nfor a; do [ \"$a\" = git ] && a=file; args=\"$args '$a'\"; done\neval exec ssh-keygen $args\n", 0o700)
	r.git("config", "gpg.ssh.program", wrapper)
	r.commit("-S")
	if _, err := check(t, r, Verify{AllowedSigners: write(t, "ann "+key, 0o644)}); err == nil || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("got %v", err)
	}
}

func TestCommitsSignedWithGPG(t *testing.T) {
	r := newRepo(t)
	ring := r.signWithGPG(true)
	r.commit("-S")
	stranger := newRepo(t).signWithGPG(true)
	for name, data := range map[string]string{"armored": string(ring), "two": string(stranger) + "\n" + string(ring)} {
		if got, err := check(t, r, Verify{GPGKeyring: write(t, data, 0o644)}); err != nil || got != "Ann <ann@example.com>" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := check(t, r, Verify{GPGKeyring: write(t, string(stranger), 0o644)}); err == nil || !strings.Contains(err.Error(), "not in the keyring") {
		t.Errorf("a stranger: %v", err)
	}
	// Both kinds of keys may be given.
	key := r.signWithSSH()
	both := Verify{GPGKeyring: write(t, string(ring), 0o644), AllowedSigners: write(t, "ann "+key, 0o644)}
	if got, err := check(t, r, both); err != nil || got != "Ann <ann@example.com>" {
		t.Errorf("both: %q, %v", got, err)
	}
	binary := newRepo(t)
	data := binary.signWithGPG(false)
	binary.commit("-S")
	if _, err := check(t, binary, Verify{GPGKeyring: write(t, string(data), 0o644)}); err != nil {
		t.Errorf("a keyring without armor: %v", err)
	}
}

func TestFilesOfKeysThatCannotBeRightAreRefused(t *testing.T) {
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for signers, want := range map[string]string{
		"":                                "no key in it may sign",
		"ann namespaces=\"file\" " + key:  "no key in it may sign",
		"# x\nann":                        ":2: want PRINCIPALS",
		"ann ssh-ed25519 AAAA":            ":1: no key",
		"ann cert-authority " + key:       ":1: option cert-authority is not supported",
		"ann valid-after=\"soon\" " + key: `:1: "soon" is not a time`,
	} {
		_, err := (Verify{AllowedSigners: write(t, signers, 0o644)}).Load()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", signers, err, want)
		}
	}
	for name, v := range map[string]Verify{
		"open":      {AllowedSigners: write(t, "ann "+key, 0o666)},
		"nonsense":  {GPGKeyring: write(t, "nonsense", 0o644)},
		"no such":   {GPGKeyring: filepath.Join(t.TempDir(), "none")},
		"directory": {GPGKeyring: t.TempDir()},
	} {
		if _, err := v.Load(); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestASignatureIsSeparatedFromWhatItSigns(t *testing.T) {
	const before, after = "tree 1\nauthor a\n", "encoding x\n\nmessage\n\ngpgsig in the message\n"
	payload, signature, err := splitSignature([]byte(before + "gpgsig A\n \n B\n" + after))
	if err != nil || string(payload) != before+after || string(signature) != "A\n\nB\n" {
		t.Errorf("%q, %q, %v", payload, signature, err)
	}
	for _, raw := range []string{before + after, before, "", "\n\n"} {
		if _, _, err := splitSignature([]byte(raw)); err == nil {
			t.Errorf("%q has a signature", raw)
		}
	}
	for _, raw := range []string{before + "gpgsig A\ngpgsig B\n" + after, before + "gpgsig-sha256 A\n" + after, before + "gpgsig A\ngpgsig-sha256 A\n" + after} {
		if _, _, err := splitSignature([]byte(raw)); err == nil {
			t.Errorf("%q is accepted", raw)
		}
	}
}

func FuzzSignature(f *testing.F) {
	f.Add([]byte("tree 1\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\nm\n"))
	f.Add([]byte("tree 1\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP SIGNATURE-----\n\nm\n"))
	keys := &Verifier{signers: []signer{}, ring: nil}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if who, err := keys.Check(&Commit{Raw: raw, Time: time.Now()}); err == nil {
			t.Errorf("%q is signed by %s, whom nobody knows", raw, who)
		}
	})
}

func FuzzSigners(f *testing.F) {
	f.Add([]byte("ann namespaces=\"git\" ssh-ed25519 AAAA\n\"a b\" x"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseSigners("f", data) })
}
