package git

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// fetch returns what Fetch gives: the hash, and the files if there was a commit.
func fetch(t *testing.T, r *Remote, known string) (hash, files string, err error) {
	t.Helper()
	hash, err = r.Fetch(t.Context(), known, func(c *Commit) error {
		set, err := c.Files(r.Location.Path, yamlFile, DefaultLimits)
		files = contents(set)
		return err
	})
	return hash, files, err
}

func TestABranchIsFetchedOverEveryTransport(t *testing.T) {
	for _, transport := range []string{"file", "https", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			r := newRepo(t)
			r.put("m/a.yaml", "one")
			r.put("b.yaml", "not below the path")
			first := r.commit()

			remote := &Remote{Location: Location{Branch: "main", Path: "m"}, Dir: t.TempDir()}
			switch transport {
			case "file":
				remote.Location.URL = "file://" + r.dir
			case "https":
				s := serveHTTP(t, r, nil)
				remote.Location.URL = s.URL + "/" + r.dir[strings.LastIndex(r.dir, "/")+1:] + "/.git"
				remote.Access.CAFile = trust(t, s)
			case "ssh":
				h := serveSSH(t)
				remote.Location.URL = "ssh://git@" + h.addr + r.dir
				remote.Access = Access{SSHKeyFile: h.keyFile, KnownHostsFile: h.knownHosts(t, h.hostKey)}
			}
			if err := errors.Join(remote.Location.Complete(), remote.Access.Check(remote.Location)); err != nil {
				t.Fatal(err)
			}
			expect := func(known, hash, files string) {
				t.Helper()
				gotHash, gotFiles, err := fetch(t, remote, known)
				if err != nil || gotHash != hash || gotFiles != files {
					t.Fatalf("got %s with %q, %v; want %s with %q", gotHash, gotFiles, err, hash, files)
				}
			}
			expect("", first, "m/a.yaml=one")
			expect(first, first, "") // nothing new

			r.put("m/a.yaml", "two")
			second := r.commit()
			expect(first, second, "m/a.yaml=two")

			r.git("reset", "-q", "--hard", first) // as after a push with force
			expect(second, first, "m/a.yaml=one")

			r.git("checkout", "-q", "-b", "other")
			r.git("branch", "-q", "-D", "main")
			if _, _, err := fetch(t, remote, first); !errors.Is(err, ErrNoBranch) {
				t.Errorf("a branch that was deleted: %v", err)
			}
			if left, err := os.ReadDir(remote.Dir); err != nil || len(left) > 0 {
				t.Errorf("left in the directory: %v, %v", left, err)
			}
			remote.Location.URL += "-gone"
			if _, _, err := fetch(t, remote, first); err == nil {
				t.Error("a repository that is not there")
			}
		})
	}
}

func TestOnlyTheOneCommitIsFetched(t *testing.T) {
	r := newRepo(t)
	r.put("a.yaml", "one")
	first := r.commit()
	r.put("a.yaml", "two")
	r.commit()
	s := serveHTTP(t, r, nil)
	remote := &Remote{Location: Location{URL: s.URL + "/" + r.dir[strings.LastIndex(r.dir, "/")+1:], Branch: "main"},
		Access: Access{CAFile: trust(t, s)}, Dir: t.TempDir()}
	_, err := remote.Fetch(t.Context(), "", func(c *Commit) error {
		if _, err := c.objects.EncodedObject(plumbing.AnyObject, plumbing.NewHash(first)); !errors.Is(err, plumbing.ErrObjectNotFound) {
			t.Errorf("its parent is there: %v", err)
		}
		if c.Author != "Ann <ann@example.com>" || time.Since(c.Time) > time.Hour || len(c.Short()) != 7 {
			t.Errorf("commit %+v", c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsComeFromAFileAndStayWithTheirHost(t *testing.T) {
	r := newRepo(t)
	r.put("a.yaml", "one")
	r.commit()
	other := ""
	elsewhere := serveHTTP(t, r, func(w http.ResponseWriter, req *http.Request) bool {
		other += req.Header.Get("Authorization")
		return true
	})
	s := serveHTTP(t, r, func(w http.ResponseWriter, req *http.Request) bool {
		if user, password, _ := req.BasicAuth(); user != "git" || password != "hunter2" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return false
		}
		if strings.HasPrefix(req.URL.Path, "/moved/") {
			http.Redirect(w, req, elsewhere.URL+strings.TrimPrefix(req.URL.RequestURI(), "/moved"), http.StatusFound)
			return false
		}
		return true
	})
	name := r.dir[strings.LastIndex(r.dir, "/")+1:]
	remote := &Remote{Location: Location{URL: s.URL + "/" + name, Branch: "main"}, Access: Access{CAFile: trust(t, s)}, Dir: t.TempDir()}
	_, _, err := fetch(t, remote, "")
	if err == nil || !strings.Contains(err.Error(), "credentials-file") {
		t.Errorf("without credentials: %v", err)
	}
	for data, ok := range map[string]bool{"hunter2\n": true, "git:hunter2": true, "git:wrong2": false, "u\nv": false, "": false} {
		remote.Access.CredentialsFile = write(t, data, 0o600)
		_, files, err := fetch(t, remote, "")
		if ok && (err != nil || files != "a.yaml=one") || !ok && err == nil {
			t.Errorf("%q: %q, %v", data, files, err)
		}
		if err != nil && strings.Contains(err.Error(), "wrong2") {
			t.Errorf("the error holds the password: %v", err)
		}
	}
	remote.Access.CredentialsFile = write(t, "hunter2", 0o644)
	if _, _, err := fetch(t, remote, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("credentials that everybody can read: %v", err)
	}
	remote.Access.CredentialsFile = write(t, "hunter2", 0o600)
	remote.Location.URL = s.URL + "/moved/" + name
	// Both servers have the certificate of package httptest.
	if _, _, err := fetch(t, remote, ""); err != nil {
		t.Errorf("a repository that has moved: %v", err)
	}
	if other != "" {
		t.Errorf("another host was given %q", other)
	}
}

func TestAServerThatIsNotTrustedIsNotSpokenTo(t *testing.T) {
	r := newRepo(t)
	r.commit()
	s := serveHTTP(t, r, nil)
	remote := &Remote{Location: Location{URL: s.URL + "/r", Branch: "main"}, Dir: t.TempDir()}
	if _, _, err := fetch(t, remote, ""); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("https: %v", err)
	}
	h := serveSSH(t)
	stranger, strangersFile := newKey(t)
	remote.Location.URL = "ssh://git@" + h.addr + r.dir
	for name, test := range map[string]struct {
		access Access
		want   string
	}{
		"unknown":       {Access{SSHKeyFile: h.keyFile, KnownHostsFile: write(t, "# nobody\n", 0o644)}, "is not in "},
		"changed":       {Access{SSHKeyFile: h.keyFile, KnownHostsFile: h.knownHosts(t, stranger.PublicKey())}, "another key"},
		"hosts open":    {Access{SSHKeyFile: h.keyFile, KnownHostsFile: write(t, "", 0o666)}, "chmod go-w"},
		"key open":      {Access{SSHKeyFile: write(t, "key", 0o640), KnownHostsFile: h.knownHosts(t, h.hostKey)}, "chmod 600"},
		"no key":        {Access{SSHKeyFile: write(t, "key", 0o600), KnownHostsFile: h.knownHosts(t, h.hostKey)}, "not a private key"},
		"not let in":    {Access{SSHKeyFile: strangersFile, KnownHostsFile: h.knownHosts(t, h.hostKey)}, "unable to authenticate"},
		"key not there": {Access{SSHKeyFile: "/nonexistent", KnownHostsFile: h.knownHosts(t, h.hostKey)}, "no such file"},
	} {
		remote.Access = test.access
		if _, _, err := fetch(t, remote, ""); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestAServerThatSaysNothingIsLeftWhenTheContextEnds(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := &sshHost{addr: l.Addr().String()}
	key, keyFile := newKey(t)
	for _, remote := range []*Remote{
		{Location: Location{URL: "http://" + h.addr + "/r", Branch: "main"}},
		{Location: Location{URL: "ssh://" + h.addr + "/r", Branch: "main"}, Access: Access{SSHKeyFile: keyFile, KnownHostsFile: h.knownHosts(t, key.PublicKey())}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if c, err := l.Accept(); err == nil {
				cancel()
				<-t.Context().Done()
				c.Close()
			}
		}()
		if _, err := remote.Fetch(ctx, "", nil); err == nil {
			t.Errorf("%s: fetched", remote.Location)
		}
		cancel()
	}
}
