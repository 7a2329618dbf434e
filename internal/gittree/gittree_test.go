package gittree

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/google/go-cmp/cmp"
)

// repository is a repository that a test commits to.
type repository struct {
	t    *testing.T
	dir  string
	work *git.Worktree
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	dir := t.TempDir()
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	work, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	return &repository{t, dir, work}
}

// write writes a file; a content "-> X" makes a link to X, "" removes it.
func (r *repository) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if target, isLink := strings.CutPrefix(content, "-> "); isLink {
		err = errors.Join(err, os.Symlink(target, path))
	} else if content == "" {
		err = errors.Join(err, os.Remove(path))
	} else {
		err = errors.Join(err, os.WriteFile(path, []byte(content), 0o600))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *repository) commit() string {
	r.t.Helper()
	if err := r.work.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		r.t.Fatal(err)
	}
	hash, err := r.work.Commit("a commit", &git.CommitOptions{
		Author: &object.Signature{Name: "A", Email: "a@example.com", When: time.Unix(1800000000, 0)},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return hash.String()
}

func keepYAML(name string, dir bool) bool {
	return !strings.HasPrefix(name, ".") && (dir || filepath.Ext(name) == ".yaml")
}

func (r *repository) files(folder, revision string) (map[string]string, error) {
	r.t.Helper()
	f, err := Open(filepath.Join(r.dir, folder))
	if err != nil {
		return nil, err
	}
	files, _, err := f.Files(revision, Options{Keep: keepYAML, MaxFileBytes: 100})
	found := map[string]string{}
	for _, f := range files {
		found[f.Path] = string(f.Data)
	}
	return found, err
}

func TestFilesAreThoseOfTheRevision(t *testing.T) {
	r := newRepository(t)
	r.write("README.md", "read me")
	r.write("m/a.yaml", "a1")
	r.write("m/deep/er/b.yaml", "b1")
	r.write("m/.hidden/c.yaml", "c")
	r.write("shared.yaml", "s1")
	r.write("m/link.yaml", "-> ../shared.yaml")
	first := r.commit()
	r.write("m/a.yaml", "a2")
	r.write("m/deep/er/b.yaml", "")
	r.commit()
	r.write("m/a.yaml", "not committed")
	for _, tc := range []struct {
		folder, revision string
		want             map[string]string
	}{
		{"m", "HEAD", map[string]string{"a.yaml": "a2", "link.yaml": "s1"}},
		{"m", "HEAD~1", map[string]string{"a.yaml": "a1", "deep/er/b.yaml": "b1", "link.yaml": "s1"}},
		{"m", first[:8], map[string]string{"a.yaml": "a1", "deep/er/b.yaml": "b1", "link.yaml": "s1"}},
		{"m/deep", first, map[string]string{"er/b.yaml": "b1"}},
		{"m/deep", "HEAD", map[string]string{}},
		{"", "master", map[string]string{"m/a.yaml": "a2", "m/link.yaml": "s1", "shared.yaml": "s1"}},
	} {
		got, err := r.files(tc.folder, tc.revision)
		if err != nil {
			t.Errorf("%s at %s: %v", tc.folder, tc.revision, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s at %s (-want +got):\n%s", tc.folder, tc.revision, diff)
		}
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"a link out of the repository": {"-> ../../etc/passwd", "outside of the repository"},
		"an absolute link":             {"-> /etc/passwd", "outside of the repository"},
		"a link to itself":             {"-> a.yaml", "more than 8 links"},
		"a link to nothing":            {"-> nothing.yaml", "file not found"},
		"a large file":                 {strings.Repeat("x", 101), "has 101 bytes"},
	} {
		r := newRepository(t)
		r.write("m/a.yaml", test.content)
		r.commit()
		if _, err := r.files("m", "HEAD"); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "a.yaml") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.files("m", "nosuch"); err == nil || !strings.Contains(err.Error(), `revision "nosuch"`) {
			t.Errorf("a revision that is not there: %v", err)
		}
	}
}

func TestAFolderOutsideOfARepositoryIsTold(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNoRepository) {
		t.Errorf("got %v", err)
	}
}
