package treetar

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// ErrPlace means that an archive cannot go where it is to go.
var ErrPlace = errors.New("cannot be copied there")

// Destination is what is known of the place that something is copied to.
type Destination struct {
	// Path is the place as it was asked for.
	Path string
	// Exists and IsDir tell what is there, links followed.
	Exists, IsDir bool
}

// Placement says where an archive's one file or tree goes.
type Placement struct {
	// Inside says that it goes into the directory at the destination; otherwise it
	// becomes the destination.
	Inside bool
	// Base is the name that it gets in the directory above, when not Inside.
	Base string
}

// Place decides as `cp -a` and `docker cp` do: into a directory that is there,
// else under the name given. dir says that a directory is copied, or what is in it.
func Place(d Destination, dir bool) (Placement, error) {
	base := path.Base(path.Clean(d.Path))
	slash := strings.HasSuffix(d.Path, "/") || strings.HasSuffix(d.Path, "/.")
	switch {
	case d.Exists && d.IsDir:
		return Placement{Inside: true}, nil
	case d.Exists && dir:
		return Placement{}, fmt.Errorf("%w: a directory cannot replace %s, which is not one", ErrPlace, d.Path)
	case d.Exists && slash:
		return Placement{}, fmt.Errorf("%w: %s is not a directory", ErrPlace, d.Path)
	case !d.Exists && slash && !dir:
		return Placement{}, fmt.Errorf("%w: the directory %s is not there", ErrPlace, d.Path)
	case base == "." || base == ".." || base == "/":
		return Placement{}, fmt.Errorf("%w: %s names no file", ErrPlace, d.Path)
	}
	return Placement{Base: base}, nil
}

// Split returns the place above a destination, where Placement.Base goes.
func Split(dest string) (parent string) {
	return path.Dir(path.Clean(dest))
}

// SourceName returns the name that a source has in its archive: its own, or "."
// when the path ends in "/.", which means its contents.
func SourceName(source string) string {
	if source == "." || source == ".." || strings.HasSuffix(source, "/.") || strings.HasSuffix(source, "/..") {
		return "."
	}
	base := path.Base(path.Clean(source))
	if base == "/" {
		return "."
	}
	return base
}
