package git

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repo is a repository with a work tree, made and changed by git itself.
type repo struct {
	t    *testing.T
	dir  string
	home string
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	r := &repo{t: t, dir: t.TempDir(), home: t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

// git runs git, shielded from this user's own configuration.
func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.home, "GIT_CONFIG_GLOBAL="+filepath.Join(r.home, "config"), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com",
		"GNUPGHOME="+r.home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) put(name, data string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits everything there is, and returns the commit's hash.
func (r *repo) commit(args ...string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git(append([]string{"commit", "-q", "--allow-empty", "-m", "change"}, args...)...)
	return r.git("rev-parse", "HEAD")
}

// head reads the commit that the work tree is at.
func (r *repo) head() *Commit {
	r.t.Helper()
	var head *Commit
	l := Location{URL: "file://" + r.dir, Branch: "main"}
	_, err := (&Remote{Location: l}).Fetch(r.t.Context(), "", func(c *Commit) error { head = c; return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	return head
}

func write(t *testing.T, data string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func yamlFile(name string) bool { return strings.HasSuffix(name, ".yaml") }

// contents returns "path=data" of files, with blanks between.
func contents(set FileSet) string {
	var all []string
	for _, f := range set.Files {
		all = append(all, f.Path+"="+string(f.Data))
	}
	return strings.Join(all, " ")
}
