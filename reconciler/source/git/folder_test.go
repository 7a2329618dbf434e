package git

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestFolderHasTheFilesOfARevision(t *testing.T) {
	r := newRepo(t)
	r.put("m/a.yaml", "one")
	r.put("m/deep/b.yaml", "b")
	r.put("other.yaml", "o")
	first := r.commit()
	r.put("m/a.yaml", "two")
	r.git("rm", "-q", "-r", "m/deep")
	r.commit()
	for _, tt := range []struct{ folder, revision, want string }{
		{"m", "HEAD", "a.yaml=two"},
		{"m", first, "a.yaml=one deep/b.yaml=b"},
		{"m/deep", first, "b.yaml=b"},
		{"m/deep", "HEAD", ""}, // it is gone, from the work tree too
		{"", "HEAD", "m/a.yaml=two other.yaml=o"},
	} {
		f, err := OpenFolder(filepath.Join(r.dir, tt.folder))
		if err != nil {
			t.Fatal(err)
		}
		files, c, err := f.Files(tt.revision, yamlFile)
		if err != nil || c == nil {
			t.Errorf("%s at %s: %v", tt.folder, tt.revision, err)
		}
		if got := contents(FileSet{Files: files}); got != tt.want {
			t.Errorf("%s at %s: %q, want %q", tt.folder, tt.revision, got, tt.want)
		}
	}
}

func TestFolderOutsideOfARepositoryIsTold(t *testing.T) {
	if _, err := OpenFolder(t.TempDir()); !errors.Is(err, ErrNoRepository) {
		t.Errorf("got %v", err)
	}
}
