package git

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	gogit "github.com/go-git/go-git/v5"
)

// ErrNoRepository means that a folder is in no Git repository.
var ErrNoRepository = errors.New("not in a Git repository")

// Folder is a folder in the work tree of a repository on this host.
type Folder struct {
	root   string // of the work tree
	prefix string // of the folder in it; "" is all of it
}

// OpenFolder returns the folder dir, which need not exist any more below the
// repository's work tree. It is ErrNoRepository when there is no repository.
func OpenFolder(dir string) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for root := dir; ; root = filepath.Dir(root) {
		_, err := open(root)
		switch {
		case err == nil:
			prefix, err := filepath.Rel(root, dir)
			if prefix = filepath.ToSlash(prefix); prefix == "." {
				prefix = ""
			}
			return &Folder{root: root, prefix: prefix}, err
		case !errors.Is(err, gogit.ErrRepositoryNotExists):
			return nil, err
		case root == filepath.Dir(root):
			return nil, fmt.Errorf("%s: %w", dir, ErrNoRepository)
		}
	}
}

// Files returns the folder's files at a revision, as ReadRevision does, with paths
// that begin in the folder. One that the commit does not have holds no files.
func (f *Folder) Files(revision string, wanted func(name string) bool) ([]File, *Commit, error) {
	c, set, err := ReadRevision(f.root, revision, f.prefix, wanted)
	if missing, ok := errors.AsType[*FileError](err); ok && missing.Path == f.prefix {
		return nil, c, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for i := range set.Files {
		if f.prefix != "" {
			set.Files[i].Path = strings.TrimPrefix(set.Files[i].Path, f.prefix+"/")
		}
	}
	return set.Files, c, nil
}
