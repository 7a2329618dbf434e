package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// File is one file of a commit.
type File struct {
	// Path from the top of the repository, with slashes: the name under which the
	// file was found, though a link may have led to it.
	Path string `json:"path"`
	Data []byte `json:"data"`
}

// FileSet is the files of a commit below one directory.
type FileSet struct {
	// Files are in the order of their paths.
	Files []File
	// Warnings are about what is there and was left out.
	Warnings []string
}

// FileError is what is wrong with one file of a commit.
type FileError struct{ Path, Message string }

func (e *FileError) Error() string { return e.Path + ": " + e.Message }

// Limits bound what is taken from a commit.
type Limits struct {
	// File and Total are in bytes; Entries counts everything that is looked at.
	File, Total int64
	Entries     int
}

// DefaultLimits are ample for manifests.
var DefaultLimits = Limits{File: 4 << 20, Total: 64 << 20, Entries: 200_000}

const (
	maxDepth = 64
	maxLinks = 40
	maxLink  = 4096 // bytes of a link's target
)

// lfsPointer begins a file whose content is kept by Git LFS.
const lfsPointer = "version https://git-lfs.github.com/spec/"

// Files reads the files below a directory whose names are wanted, recursively.
// Hidden files and directories are left out. A link is followed to what is in the
// repository; one that leads out is an error, as is whatever is beyond the limits.
func (c *Commit) Files(dir string, wanted func(name string) bool, limits Limits) (FileSet, error) {
	if c.objects == nil {
		return FileSet{}, errors.New("the commit's files are not here")
	}
	top, err := object.GetTree(c.objects, c.tree)
	if err != nil {
		return FileSet{}, fmt.Errorf("read the tree of commit %s: %w", c.Short(), err)
	}
	w := &walk{commit: c, top: top, wanted: wanted, limits: limits, seen: map[string]bool{}}
	start := top
	if dir != "" {
		if start, err = top.Tree(dir); err != nil {
			return FileSet{}, &FileError{dir, "there is no such directory in commit " + c.Short()}
		}
	}
	if err := w.dir(dir, dir, start, 0); err != nil {
		return FileSet{}, err
	}
	return w.set, nil
}

// walk gathers files.
type walk struct {
	commit *Commit
	top    *object.Tree
	wanted func(string) bool
	limits Limits

	set     FileSet
	entries int
	total   int64
	seen    map[string]bool // directories and files, by what they really are
}

// dir reads a directory that is shown as name and really is at real.
func (w *walk) dir(name, real string, t *object.Tree, depth int) error {
	if depth > maxDepth {
		return &FileError{name, fmt.Sprintf("directories are nested more than %d deep", maxDepth)}
	}
	if w.seen[real+"/"] {
		return nil // reached in two ways, read in one
	}
	w.seen[real+"/"] = true
	for _, e := range t.Entries {
		if w.entries++; w.entries > w.limits.Entries {
			return &FileError{name, fmt.Sprintf("more than %d files and directories", w.limits.Entries)}
		}
		if strings.HasPrefix(e.Name, ".") {
			continue
		}
		if err := w.entry(path.Join(name, e.Name), path.Join(real, e.Name), e, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(name, real string, e object.TreeEntry, depth int) error {
	if e.Mode == filemode.Symlink {
		to, target, err := w.follow(name, real, e)
		if err != nil {
			return err
		}
		if to == "" { // the repository itself
			return &FileError{name, "is a link to the whole repository: remove it"}
		}
		real, e = to, target
	}
	switch {
	case e.Mode == filemode.Dir:
		t, err := object.GetTree(w.commit.objects, e.Hash)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		return w.dir(name, real, t, depth+1)
	case e.Mode == filemode.Submodule:
		w.set.Warnings = append(w.set.Warnings, name+" is a submodule, which is not read: put its manifests into this repository, or name that one too")
		return nil
	case !w.wanted(path.Base(name)) || w.seen[real]:
		return nil
	}
	w.seen[real] = true
	return w.file(name, e.Hash)
}

// follow returns where a link leads.
func (w *walk) follow(name, real string, e object.TreeEntry) (string, object.TreeEntry, error) {
	for range maxLinks {
		data, err := w.blob(name, e.Hash, maxLink)
		if err != nil {
			return "", e, err
		}
		to := path.Join(path.Dir(real), string(data))
		if path.IsAbs(string(data)) || to == ".." || strings.HasPrefix(to, "../") {
			return "", e, &FileError{name, "is a link that leads out of the repository: remove it"}
		}
		if to == "." {
			return "", e, nil
		}
		next, err := w.top.FindEntry(to)
		if err != nil {
			return "", e, &FileError{name, "is a link to what is not in the commit"}
		}
		if next.Mode != filemode.Symlink {
			return to, *next, nil
		}
		real, e = to, *next
	}
	return "", e, &FileError{name, "too many links, or a loop of links"}
}

func (w *walk) file(name string, hash plumbing.Hash) error {
	data, err := w.blob(name, hash, w.limits.File)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(data, []byte(lfsPointer)) {
		return &FileError{name, "is kept by Git LFS, which is not supported: keep manifests in Git itself"}
	}
	if w.total += int64(len(data)); w.total > w.limits.Total {
		return &FileError{name, fmt.Sprintf("the files have more than %d bytes together", w.limits.Total)}
	}
	w.set.Files = append(w.set.Files, File{name, data})
	return nil
}

// blob reads an object of a bounded size.
func (w *walk) blob(name string, hash plumbing.Hash, limit int64) ([]byte, error) {
	b, err := object.GetBlob(w.commit.objects, hash)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if b.Size > limit {
		return nil, &FileError{name, fmt.Sprintf("too big: %d bytes, a manifest file may have %d: split it", b.Size, limit)}
	}
	r, err := b.Reader()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer r.Close()
	return io.ReadAll(r)
}
