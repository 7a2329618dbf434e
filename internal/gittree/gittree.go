// Package gittree reads files as a commit of a Git repository has them, without
// touching a work tree. It runs no hook, no filter and no program.
package gittree

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// ErrNoRepository means that a folder is in no Git repository.
var ErrNoRepository = errors.New("not in a Git repository")

const (
	// maxFiles bounds what is read of one tree.
	maxFiles = 100_000
	// maxLinks bounds how often a symbolic link may lead to another.
	maxLinks = 8
)

// File is a file of a tree.
type File struct {
	// Path is relative to the folder that was read, with slashes.
	Path string
	Data []byte
}

// Options say what is read.
type Options struct {
	// Keep reports whether an entry is wanted: a file by its name, or what is below
	// a directory. Nil wants all.
	Keep func(name string, dir bool) bool
	// MaxFileBytes bounds one file.
	MaxFileBytes int64
}

// Folder is a folder in the work tree of a local repository.
type Folder struct {
	repo   *git.Repository
	prefix string // in the repository; "" is all of it
}

// Open returns the folder dir, which need not exist any more below the
// repository's work tree. It is ErrNoRepository when there is no repository.
func Open(dir string) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	repo, err := open(dir)
	if err != nil {
		return nil, err
	}
	work, err := repo.Worktree()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	root := work.Filesystem.Root()
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	prefix, err := filepath.Rel(root, dir)
	if err != nil || !filepath.IsLocal(prefix) {
		return nil, fmt.Errorf("%s is not in the work tree %s", dir, root)
	}
	if prefix = filepath.ToSlash(prefix); prefix == "." {
		prefix = ""
	}
	return &Folder{repo: repo, prefix: prefix}, nil
}

// open finds the repository that a directory is in, or was before it went.
func open(dir string) (*git.Repository, error) {
	for at := dir; ; at = filepath.Dir(at) {
		repo, err := git.PlainOpenWithOptions(at, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
		switch {
		case err == nil:
			return repo, nil
		case !errors.Is(err, git.ErrRepositoryNotExists):
			return nil, fmt.Errorf("open the Git repository of %s: %w", dir, err)
		case at == filepath.Dir(at):
			return nil, fmt.Errorf("%s: %w", dir, ErrNoRepository)
		}
	}
}

// Files returns the files of the folder at a revision (a branch, a tag, a commit,
// "HEAD~1", …), in the order of the tree, and the commit it stands for. A folder
// that the commit does not have holds no files.
func (f *Folder) Files(revision string, opts Options) (files []File, commit string, err error) {
	hash, err := f.repo.ResolveRevision(plumbing.Revision(revision))
	if err != nil {
		return nil, "", fmt.Errorf("revision %q: %w", revision, err)
	}
	c, err := f.repo.CommitObject(*hash)
	if err != nil {
		return nil, "", fmt.Errorf("revision %q: %w", revision, err)
	}
	root, err := c.Tree()
	if err != nil {
		return nil, "", fmt.Errorf("commit %s: %w", hash, err)
	}
	files, err = Read(root, f.prefix, opts)
	if err != nil {
		return nil, "", fmt.Errorf("commit %s: %w", hash, err)
	}
	return files, hash.String(), nil
}

// Read returns the files of a folder in a tree, "" for all of it. Symbolic links
// to files are followed within the tree.
func Read(root *object.Tree, folder string, opts Options) ([]File, error) {
	tree := root
	if folder != "" {
		var err error
		tree, err = root.Tree(folder)
		if errors.Is(err, object.ErrDirectoryNotFound) || errors.Is(err, object.ErrEntryNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	r := reader{root: root, folder: folder, opts: opts}
	if err := r.tree(tree, ""); err != nil {
		return nil, err
	}
	return r.files, nil
}

type reader struct {
	root   *object.Tree
	folder string
	opts   Options
	files  []File
}

func (r *reader) tree(tree *object.Tree, dir string) error {
	for _, e := range tree.Entries {
		name := path.Join(dir, e.Name)
		isDir := e.Mode == filemode.Dir || e.Mode == filemode.Submodule
		if r.opts.Keep != nil && !r.opts.Keep(e.Name, isDir) {
			continue
		}
		switch e.Mode {
		case filemode.Dir:
			sub, err := tree.Tree(e.Name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := r.tree(sub, name); err != nil {
				return err
			}
		case filemode.Submodule:
			return fmt.Errorf("%s is a submodule, whose files are not in this repository", name)
		default:
			data, err := r.file(path.Join(r.folder, name))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if len(r.files) == maxFiles {
				return fmt.Errorf("more than %d files", maxFiles)
			}
			r.files = append(r.files, File{Path: name, Data: data})
		}
	}
	return nil
}

// file reads a file, through links.
func (r *reader) file(name string) ([]byte, error) {
	for range maxLinks {
		f, err := r.root.File(name)
		if err != nil {
			return nil, err
		}
		data, err := r.read(f)
		if err != nil || f.Mode != filemode.Symlink {
			return data, err
		}
		target := string(data)
		name = path.Join(path.Dir(name), target)
		if path.IsAbs(target) || name == ".." || strings.HasPrefix(name, "../") {
			return nil, fmt.Errorf("a link to %s, which is outside of the repository", target)
		}
	}
	return nil, fmt.Errorf("more than %d links, one to the other", maxLinks)
}

func (r *reader) read(f *object.File) ([]byte, error) {
	if r.opts.MaxFileBytes > 0 && f.Size > r.opts.MaxFileBytes {
		return nil, fmt.Errorf("has %d bytes, more than %d", f.Size, r.opts.MaxFileBytes)
	}
	in, err := f.Reader()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, f.Size+1))
	return data, errors.Join(err, in.Close())
}
