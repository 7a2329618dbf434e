package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// ErrInvalid means that a layer breaks the rules or a bound.
var ErrInvalid = errors.New("invalid layer")

// Bounds of one image, well above any real one.
const (
	maxEntries   = 1 << 20
	maxMetaBytes = 256 << 20
	maxPath      = 4096
	maxName      = 255
	maxDepth     = 1000
	maxFileBytes = 32 << 30
	maxLinkHops  = 40
	maxXattr     = 4000
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh."
	xattrPrefix    = "SCHILY.xattr."
)

// inode is a file without its names: hard links share one.
type inode struct {
	typ      byte // a tar.Type… of tar.TypeReg, TypeDir, TypeSymlink, TypeChar, TypeBlock, TypeFifo
	mode     int64
	uid, gid int
	mtime    time.Time
	link     string // target of a symbolic link
	major    int64
	minor    int64
	xattrs   map[string]string
	size     int64
	offset   int64 // of the content in the spool
}

// node is a name in the tree.
type node struct {
	*inode
	// layer is the one that last said something about this name.
	layer    int
	parent   *node
	depth    int
	children map[string]*node // of a directory
	// cleared is the layer that has removed what lower layers left below.
	cleared int
}

func (n *node) isDir() bool { return n.typ == tar.TypeDir }

// tree is the merged content of the layers applied so far.
type tree struct {
	root      *node
	layer     int // the layer being applied, counted from 1
	entries   int
	metaBytes int
}

func newTree() *tree {
	return &tree{root: newDir(nil)}
}

// newDir is a directory that no layer has described.
func newDir(parent *node) *node {
	n := &node{
		inode:  &inode{typ: tar.TypeDir, mode: 0o755, mtime: time.Unix(0, 0)},
		parent: parent, children: make(map[string]*node),
	}
	if parent != nil {
		n.depth = parent.depth + 1
	}
	return n
}

// apply adds an entry of the current layer. For a regular file that becomes
// part of the tree, want is its inode, whose offset the caller must fill in;
// otherwise want is nil and the content is of no interest.
func (t *tree) apply(hdr *tar.Header) (want *inode, err error) {
	if t.entries++; t.entries > maxEntries {
		return nil, fmt.Errorf("more than %d entries", maxEntries)
	}
	switch hdr.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil, nil
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, tar.TypeLink, tar.TypeDir, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	default:
		return nil, fmt.Errorf("unknown kind of entry %q", hdr.Typeflag)
	}
	name, err := cleanPath(hdr.Name)
	if err != nil {
		return nil, err
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if strings.HasPrefix(base, whiteoutPrefix) {
		return nil, t.whiteout(dir, base)
	}
	if strings.HasPrefix(dir, metaPrefix) || strings.Contains(dir, "/"+metaPrefix) {
		return nil, nil // bookkeeping of aufs
	}
	if hdr.Typeflag == tar.TypeLink {
		return nil, t.hardLink(dir, base, hdr.Linkname)
	}
	ino, err := t.newInode(hdr)
	if err != nil {
		return nil, err
	}
	if base == "" {
		if ino.typ != tar.TypeDir {
			return nil, errors.New("the root must be a directory")
		}
		t.root.inode, t.root.layer = ino, t.layer
		return nil, nil
	}
	parent, err := t.directory(dir)
	if err != nil {
		return nil, err
	}
	if old := parent.children[base]; old != nil && old.isDir() && ino.typ == tar.TypeDir {
		old.inode, old.layer = ino, t.layer
		return nil, nil
	}
	n := &node{inode: ino, layer: t.layer, parent: parent, depth: parent.depth + 1}
	if n.isDir() {
		n.children = make(map[string]*node)
	}
	parent.children[base] = n
	if ino.typ == tar.TypeReg {
		return ino, nil
	}
	return nil, nil
}

// newInode checks the numbers of an entry.
func (t *tree) newInode(hdr *tar.Header) (*inode, error) {
	ino := &inode{
		typ: hdr.Typeflag, mode: hdr.Mode & 0o7777, uid: hdr.Uid, gid: hdr.Gid, mtime: hdr.ModTime,
		major: hdr.Devmajor, minor: hdr.Devminor,
	}
	if uint64(ino.uid) > math.MaxUint32 || uint64(ino.gid) > math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d is out of range", ino.uid, ino.gid)
	}
	switch ino.typ {
	case tar.TypeCont, tar.TypeGNUSparse, tar.TypeReg:
		ino.typ, ino.size = tar.TypeReg, hdr.Size
		if ino.size < 0 || ino.size > maxFileBytes {
			return nil, fmt.Errorf("a file of %d bytes, the limit is %d", ino.size, int64(maxFileBytes))
		}
	case tar.TypeSymlink:
		ino.link = hdr.Linkname
		if len(ino.link) == 0 || len(ino.link) >= maxPath || strings.Contains(ino.link, "\x00") {
			return nil, fmt.Errorf("a symbolic link to %d bytes", len(ino.link))
		}
	case tar.TypeChar, tar.TypeBlock:
		// What ext4's inodes hold: 12 bits and 20 bits.
		if ino.major < 0 || ino.major > 0xfff || ino.minor < 0 || ino.minor > 0xfffff {
			return nil, fmt.Errorf("device %d:%d is out of range", ino.major, ino.minor)
		}
	}
	var err error
	if ino.xattrs, err = xattrs(hdr.PAXRecords); err != nil {
		return nil, err
	}
	meta := len(hdr.Name) + len(ino.link)
	for k, v := range ino.xattrs {
		meta += len(k) + len(v)
	}
	return ino, t.charge(meta)
}

// charge accounts for names and attributes, which are kept in memory.
func (t *tree) charge(n int) error {
	if t.metaBytes += n; t.metaBytes > maxMetaBytes {
		return fmt.Errorf("names and attributes of more than %d MiB", maxMetaBytes>>20)
	}
	return nil
}

// xattrs takes the extended attributes that a file system keeps. Those of
// overlayfs would change how the base is read and are no business of an image.
func xattrs(records map[string]string) (map[string]string, error) {
	var attrs map[string]string
	total := 0
	for k, v := range records {
		name, ok := strings.CutPrefix(k, xattrPrefix)
		if !ok || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		space, rest, _ := strings.Cut(name, ".")
		switch space {
		case "user", "trusted", "security":
			if rest == "" || len(rest) > maxName {
				return nil, fmt.Errorf("an extended attribute name of %d bytes", len(name))
			}
		case "system":
			var err error
			if v, ok, err = diskACL(rest, v); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
		default:
			continue
		}
		if total += len(name) + len(v) + 16; total > maxXattr {
			return nil, fmt.Errorf("more than %d bytes of extended attributes", maxXattr)
		}
		if attrs == nil {
			attrs = make(map[string]string)
		}
		attrs[name] = v
	}
	return attrs, nil
}

// hardLink gives another name to a file.
func (t *tree) hardLink(dir, base, target string) error {
	if base == "" {
		return errors.New("the root must be a directory")
	}
	clean, err := cleanPath(target)
	if err != nil {
		return fmt.Errorf("hard link: %w", err)
	}
	targetDir, targetBase := path.Split(clean)
	from, err := t.lookup(strings.TrimSuffix(targetDir, "/"))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	var old *node
	if from != nil {
		old = from.children[targetBase]
	}
	switch {
	case old == nil:
		return fmt.Errorf("hard link to %q, which is not there", target)
	case old.isDir():
		return fmt.Errorf("hard link to %q, which is a directory", target)
	}
	parent, err := t.directory(dir)
	if err != nil {
		return err
	}
	if err := t.charge(len(dir) + len(base)); err != nil {
		return err
	}
	parent.children[base] = &node{inode: old.inode, layer: t.layer, parent: parent}
	return nil
}

// whiteout removes what lower layers left.
func (t *tree) whiteout(dir, base string) error {
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if base != opaqueName {
		if strings.HasPrefix(base, metaPrefix) {
			return nil // bookkeeping of aufs
		}
		if hidden == "" || hidden == "." || hidden == ".." {
			return errors.New("a whiteout of no name")
		}
	}
	parent, err := t.lookup(dir)
	if err != nil || parent == nil {
		return err
	}
	if base == opaqueName {
		t.removeLower(parent)
		return nil
	}
	if n := parent.children[hidden]; n != nil && t.onlyLower(n) {
		delete(parent.children, hidden)
	}
	return nil
}

// removeLower removes from a directory what this layer did not put there. Once
// done, nothing of the kind comes back while the layer lasts: a layer full of
// whiteouts costs no more than one.
func (t *tree) removeLower(dir *node) {
	if dir.cleared == t.layer {
		return
	}
	dir.cleared = t.layer
	for name, n := range dir.children {
		if t.onlyLower(n) {
			delete(dir.children, name)
		}
	}
}

// onlyLower clears a name of what lower layers left and reports whether nothing
// of this layer remains.
func (t *tree) onlyLower(n *node) bool {
	if n.isDir() {
		t.removeLower(n)
	}
	return n.layer < t.layer && len(n.children) == 0
}

// directory finds the directory at a clean path, and makes what is missing.
func (t *tree) directory(p string) (*node, error) {
	return t.walk(p, true)
}

// lookup finds the directory at a clean path; it is nil if there is none.
func (t *tree) lookup(p string) (*node, error) {
	return t.walk(p, false)
}

// walk follows a path to a directory. Symbolic links are followed as in a chroot.
func (t *tree) walk(p string, create bool) (*node, error) {
	at, hops := t.root, 0
	todo := splitPath(p)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..": // of a symbolic link's target
			if at.parent != nil {
				at = at.parent
			}
			continue
		}
		next := at.children[name]
		switch {
		case next == nil && !create:
			return nil, nil
		case next == nil:
			if len(name) > maxName {
				return nil, fmt.Errorf("a name of %d bytes", len(name))
			}
			if t.entries++; t.entries > maxEntries {
				return nil, fmt.Errorf("more than %d entries", maxEntries)
			}
			next = newDir(at)
			next.layer = t.layer
			at.children[name] = next
			at = next
		case next.isDir():
			at = next
		case next.typ == tar.TypeSymlink:
			if hops++; hops > maxLinkHops {
				return nil, errors.New("too many symbolic links in its path")
			}
			if strings.HasPrefix(next.link, "/") {
				at = t.root
			}
			todo = append(splitPath(next.link), todo...)
		case create:
			return nil, fmt.Errorf("%q in its path is not a directory", name)
		default:
			return nil, nil
		}
		if at.depth > maxDepth {
			return nil, errors.New("directories are nested too deeply")
		}
	}
	return at, nil
}

func splitPath(p string) []string {
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// cleanPath is an entry's name, relative to the root and without ".", "" for
// the root itself. Leading slashes mean nothing; ".." is refused.
func cleanPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("a path of %d bytes", len(name))
	}
	if strings.Contains(name, "\x00") {
		return "", errors.New("a path with a NUL byte")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("path %q leaves the image", name)
		}
		if len(part) > maxName {
			return "", fmt.Errorf("a name of %d bytes", len(part))
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// sorted returns the names in a directory.
func (n *node) sorted() []string {
	return slices.Sorted(maps.Keys(n.children))
}
