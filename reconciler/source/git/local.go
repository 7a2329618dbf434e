package git

import (
	"errors"
	"fmt"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// local is fetch from a repository on this host: it is read where it is.
func (r *Remote) local(path, known string, use func(*Commit) error) (string, error) {
	repo, err := open(path)
	if err != nil {
		return "", err
	}
	ref, err := repo.Reference(plumbing.NewBranchReferenceName(r.Location.Branch), true)
	switch {
	case errors.Is(err, plumbing.ErrReferenceNotFound):
		return "", fmt.Errorf("%w: %s", ErrNoBranch, r.Location.Branch)
	case err != nil:
		return "", err
	case ref.Hash().String() == known:
		return known, nil
	}
	c, err := readCommit(repo.Storer, ref.Hash())
	if err != nil {
		return "", err
	}
	return c.Hash, use(c)
}

func open(path string) (*gogit.Repository, error) {
	repo, err := gogit.PlainOpenWithOptions(path, &gogit.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return nil, fmt.Errorf("open the repository %s: %w", path, err)
	}
	return repo, nil
}

// ReadRevision reads the files below dir, a directory in a repository on this
// host, as they are in a revision: whatever git itself understands of "HEAD~1",
// a branch, a tag, a hash. path is that of the repository or of its work tree. It
// returns the commit, of which the files are not to be had any more, and the files
// whose names are wanted, within DefaultLimits.
func ReadRevision(path, revision, dir string, wanted func(name string) bool) (*Commit, FileSet, error) {
	repo, err := open(path)
	if err != nil {
		return nil, FileSet{}, err
	}
	hash, err := repo.ResolveRevision(plumbing.Revision(revision))
	if err != nil {
		return nil, FileSet{}, fmt.Errorf("revision %q of %s: %w", revision, path, err)
	}
	c, err := readCommit(repo.Storer, *hash)
	if err != nil {
		return nil, FileSet{}, err
	}
	set, err := c.Files(dir, wanted, DefaultLimits)
	c.objects = nil
	return c, set, err
}
