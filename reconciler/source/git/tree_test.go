package git

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func link(t *testing.T, r *repo, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(r.dir, filepath.Dir(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(r.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestFilesOfACommit(t *testing.T) {
	r := newRepo(t)
	r.put("top.yaml", "0")
	r.put("m/a.yaml", "1")
	r.put("m/README.md", "not wanted")
	r.put("m/.hidden/b.yaml", "hidden")
	r.put("m/sub/c.yaml", "2")
	r.put("common/d.yaml", "3")
	link(t, r, "../common", "m/link")            // to a directory outside of the path
	link(t, r, "sub", "m/again")                 // read once
	link(t, r, "../../top.yaml", "m/sub/e.yaml") // to a file
	link(t, r, "e.yaml", "m/sub/f.yaml")         // to a link to a file that was read
	link(t, r, "..", "m/sub/up")                 // round
	r.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", newSub(t).dir, "m/module")
	r.commit()

	set, err := r.head().Files("m", yamlFile, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contents(set), "m/a.yaml=1 m/again/c.yaml=2 m/again/e.yaml=0 m/link/d.yaml=3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(set.Warnings) != 1 || !strings.HasPrefix(set.Warnings[0], "m/module is a submodule") {
		t.Errorf("warnings %q", set.Warnings)
	}
	if set, err = r.head().Files("", yamlFile, DefaultLimits); err != nil || strings.Count(contents(set), "=0") != 1 {
		t.Errorf("the whole repository: %q, %v", contents(set), err)
	}
}

func newSub(t *testing.T) *repo {
	t.Helper()
	r := newRepo(t)
	r.put("x.yaml", "x")
	r.commit()
	return r
}

func TestACommitThatAsksForTooMuchIsRefusedWithTheFile(t *testing.T) {
	for name, test := range map[string]struct {
		make   func(r *repo)
		limits Limits
		path   string
		want   string
	}{
		"no such path":   {func(*repo) {}, DefaultLimits, "m", "no such directory"},
		"out":            {func(r *repo) { link(t, r, "../../etc/passwd", "m/a.yaml") }, DefaultLimits, "m/a.yaml", "out of the repository"},
		"absolute":       {func(r *repo) { link(t, r, "/etc", "m/a") }, DefaultLimits, "m/a", "out of the repository"},
		"nowhere":        {func(r *repo) { link(t, r, "b", "m/a.yaml") }, DefaultLimits, "m/a.yaml", "not in the commit"},
		"round":          {func(r *repo) { link(t, r, "b", "m/a"); link(t, r, "a", "m/b") }, DefaultLimits, "m/a", "loop"},
		"to everything":  {func(r *repo) { link(t, r, "..", "m/a") }, DefaultLimits, "m/a", "whole repository"},
		"a long link":    {func(r *repo) { link(t, r, strings.Repeat("x/", 2040), "m/a") }, DefaultLimits, "m/a", "not in the commit"},
		"kept by LFS":    {func(r *repo) { r.put("m/a.yaml", lfsPointer+"v1\noid sha256:00\nsize 1\n") }, DefaultLimits, "m/a.yaml", "Git LFS"},
		"a big file":     {func(r *repo) { r.put("m/a.yaml", "123456") }, Limits{5, 100, 100}, "m/a.yaml", "6 bytes, a manifest file may have 5"},
		"many files":     {func(r *repo) { r.put("m/a.yaml", "1"); r.put("m/b.yaml", "2") }, Limits{5, 100, 1}, "m", "more than 1"},
		"big altogether": {func(r *repo) { r.put("m/a.yaml", "123"); r.put("m/b.yaml", "45") }, Limits{5, 4, 100}, "m/b.yaml", "more than 4 bytes"},
		"deep":           {func(r *repo) { r.put("m"+strings.Repeat("/d", 70)+"/a.yaml", "1") }, DefaultLimits, "m" + strings.Repeat("/d", 65), "nested"},
	} {
		r := newRepo(t)
		test.make(r)
		r.commit()
		_, err := r.head().Files("m", yamlFile, test.limits)
		bad, ok := errors.AsType[*FileError](err)
		if !ok || bad.Path != test.path || !strings.Contains(bad.Message, test.want) {
			t.Errorf("%s: %v, want %s: %q", name, err, test.path, test.want)
		}
	}
}

func TestARevisionOfARepositoryOnThisHost(t *testing.T) {
	r := newRepo(t)
	r.put("m/a.yaml", "one")
	first := r.commit()
	r.git("tag", "-a", "v1", "-m", "first")
	r.put("m/a.yaml", "two")
	r.put("m/b.yaml", "new")
	r.commit()
	r.put("m/a.yaml", "not committed")
	for revision, want := range map[string]string{
		"HEAD": "m/a.yaml=two m/b.yaml=new", "HEAD~1": "m/a.yaml=one", "v1": "m/a.yaml=one", first: "m/a.yaml=one", "main": "m/a.yaml=two m/b.yaml=new",
	} {
		c, set, err := ReadRevision(r.dir, revision, "m", yamlFile)
		if err != nil || contents(set) != want || c.Author != "Ann <ann@example.com>" {
			t.Errorf("%s: %q, %v", revision, contents(set), err)
		}
	}
	tree := t.TempDir() + "/tree"
	r.git("worktree", "add", "-q", "-b", "other", tree, first)
	if _, set, err := ReadRevision(tree, "HEAD", "", yamlFile); err != nil || contents(set) != "m/a.yaml=one" {
		t.Errorf("another work tree: %q, %v", contents(set), err)
	}
	for _, bad := range [][2]string{{r.dir, "nonsense"}, {t.TempDir(), "HEAD"}} {
		if _, _, err := ReadRevision(bad[0], bad[1], "", yamlFile); err == nil || !strings.Contains(err.Error(), bad[0]) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
