package treetar

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// ErrArchive means that an archive holds what it must not, or is none.
var ErrArchive = errors.New("bad archive")

const (
	// maxName and maxPart bound the names in an archive, as Linux does.
	maxName = 4095
	maxPart = 255
	// holeBytes is how many zeroes become a hole.
	holeBytes = 64 << 10
	// directBytes is how large a file is that is written past the page cache.
	directBytes = 4 << 20
	// directAlign is what memory, offsets and lengths are aligned to then: no device
	// of ours has larger blocks.
	directAlign = 4096
	// tempPrefix is what the names of files begin with that are not whole yet.
	tempPrefix = ".vzr-copy-"
)

// UnpackOptions modify Unpack.
type UnpackOptions struct {
	// As replaces the first part of every name, which must then be the same in
	// all of them; empty leaves the names alone.
	As string
	// KeepOwner gives everything the owner that it has in the archive, and keeps
	// set-user-ID and set-group-ID bits; otherwise it belongs to Owner.
	KeepOwner bool
	// Owner owns what is made unless KeepOwner is set; nil is whoever runs this.
	Owner *Owner
	// SafeLinks leaves out symbolic links that lead out of the directory, and
	// follows none that is in it. It is for archives that are not trusted.
	SafeLinks bool
	// Direct writes large files past the page cache where that can be done. It is
	// for a machine to which each page is dear: an emulated one.
	Direct bool
	// Warn is told of what is left out; nil discards it.
	Warn func(text string)
}

// Owner is a user and a group by number.
type Owner struct{ UID, GID int }

// Archive is an archive whose first entry has been read.
type Archive struct {
	tr    *tar.Reader
	first *tar.Header // nil: it is empty
	name  string      // of first
}

// Open reads up to the first entry.
func Open(r io.Reader) (*Archive, error) {
	a := &Archive{tr: tar.NewReader(r)}
	hdr, err := a.tr.Next()
	if errors.Is(err, io.EOF) {
		return a, nil
	}
	if err != nil {
		return nil, readError(err)
	}
	a.first = hdr
	a.name, err = cleanName(hdr.Name)
	return a, err
}

// Empty reports whether there is nothing in the archive.
func (a *Archive) Empty() bool { return a.first == nil }

// IsDir reports whether its first entry is a directory.
func (a *Archive) IsDir() bool { return a.first != nil && a.first.Typeflag == tar.TypeDir }

// readError makes the errors of package tar, but not those of what it reads
// from, an ErrArchive.
func readError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	return err
}

// Unpack unpacks the archive below dir. What is there already is replaced, file
// by file; directories that are there stay as they are, and none is replaced by
// anything else.
func (a *Archive) Unpack(ctx context.Context, dir *os.Root, opts UnpackOptions) error {
	if opts.Warn == nil {
		opts.Warn = func(string) {}
	}
	u := &unpacker{
		ctx: ctx, root: dir, opts: opts, tr: a.tr, made: map[string]int{},
		buf: alignedBuffer(),
	}
	if a.first != nil && opts.As != "" {
		u.top, _, _ = strings.Cut(a.name, "/")
	}
	for hdr := a.first; hdr != nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := u.entry(hdr); err != nil {
			return err
		}
		var err error
		hdr, err = a.tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return readError(err)
		}
	}
	return u.finish()
}

type unpacker struct {
	ctx  context.Context //nolint:containedctx // of the one call of Unpack
	root *os.Root
	opts UnpackOptions
	tr   *tar.Reader
	top  string
	buf  []byte

	dirs []madeDir
	made map[string]int // index in dirs
	// checked is the last directory that was seen to be no link.
	checked string
}

// madeDir is a directory that gets its attributes when all is in it.
type madeDir struct {
	name string
	hdr  *tar.Header
}

// cleanName returns a name as it is used: relative, without what says nothing.
func cleanName(name string) (string, error) {
	if name == "" || len(name) > maxName || strings.Contains(name, "\x00") {
		return "", fmt.Errorf("%w: a name is empty, too long or no name: %.60q", ErrArchive, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." || len(part) > maxPart {
			return "", fmt.Errorf("%w: the name %.60q leads out of the directory, or is too long", ErrArchive, name)
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		clean = "."
	}
	return clean, nil
}

// target returns where an entry goes.
func (u *unpacker) target(name string) (string, error) {
	name, err := cleanName(name)
	if err != nil || u.opts.As == "" {
		return name, err
	}
	if u.top == "." {
		return path.Join(u.opts.As, name), nil
	}
	first, rest, _ := strings.Cut(name, "/")
	if first != u.top {
		return "", fmt.Errorf("%w: %.60q is not below %.60q, as all the rest is", ErrArchive, name, u.top)
	}
	return path.Join(u.opts.As, rest), nil
}

func (u *unpacker) entry(hdr *tar.Header) error {
	name, err := u.target(hdr.Name)
	if err != nil {
		return err
	}
	if err := u.parents(name); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	switch hdr.Typeflag {
	case tar.TypeDir:
		err = u.dir(name, hdr)
	case tar.TypeReg:
		err = u.file(name, hdr)
	case tar.TypeSymlink:
		err = u.symlink(name, hdr)
	case tar.TypeLink:
		err = u.link(name, hdr)
	case tar.TypeXGlobalHeader:
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		u.opts.Warn(name + " is left out: it is a device or a pipe")
	default:
		u.opts.Warn(fmt.Sprintf("%s is left out: its kind %q is unknown", name, hdr.Typeflag))
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, readError(err))
	}
	return nil
}

// parents makes the directories above a name that are missing.
func (u *unpacker) parents(name string) error {
	dir := path.Dir(name)
	if dir == "." || dir == u.checked {
		return nil
	}
	for i, c := range dir + "/" {
		if c != '/' {
			continue
		}
		part := dir[:i]
		info, err := u.root.Lstat(part)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := u.root.Mkdir(part, 0o755); err != nil {
				return err
			}
			if err := u.own(part, nil); err != nil {
				return err
			}
			u.made[part] = len(u.dirs)
			u.dirs = append(u.dirs, madeDir{name: part})
		case err != nil:
			return err
		case u.opts.SafeLinks && !info.IsDir():
			return fmt.Errorf("%w: %s is not a directory", ErrArchive, part)
		}
	}
	u.checked = dir
	return nil
}

// dir makes a directory, of which its owner can do anything until all is in it.
func (u *unpacker) dir(name string, hdr *tar.Header) error {
	if i, ok := u.made[name]; ok {
		u.dirs[i].hdr = hdr
		return u.own(name, hdr)
	}
	stat := u.root.Stat
	if u.opts.SafeLinks {
		stat = u.root.Lstat
	}
	info, err := stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%w: a directory cannot replace what is there", ErrPlace)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := u.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	u.made[name] = len(u.dirs)
	u.dirs = append(u.dirs, madeDir{name: name, hdr: hdr})
	return u.own(name, hdr)
}

// own gives a new file or directory, or link, to whom it belongs.
func (u *unpacker) own(name string, hdr *tar.Header) error {
	switch {
	case u.opts.KeepOwner && hdr != nil:
		return u.root.Lchown(name, hdr.Uid, hdr.Gid)
	case u.opts.Owner != nil:
		return u.root.Lchown(name, u.opts.Owner.UID, u.opts.Owner.GID)
	}
	return nil
}

func (u *unpacker) mode(hdr *tar.Header) fs.FileMode {
	m := fileMode(hdr.Mode)
	if !u.opts.KeepOwner {
		// They would give others the power of an owner whom the archive never meant.
		m &^= fs.ModeSetuid | fs.ModeSetgid
	}
	return m
}

// finish gives the directories what would have been in the way before.
func (u *unpacker) finish() error {
	for _, d := range slices.Backward(u.dirs) {
		if d.hdr == nil {
			continue
		}
		if err := u.finishDir(d); err != nil {
			return fmt.Errorf("unpack %s: %w", d.name, err)
		}
	}
	return nil
}

func (u *unpacker) finishDir(d madeDir) error {
	f, err := u.root.Open(d.name)
	if err != nil {
		return err
	}
	defer f.Close()
	u.setXattrs(f, d.hdr, d.name)
	if err := f.Chmod(u.mode(d.hdr)); err != nil {
		return err
	}
	return u.root.Chtimes(d.name, time.Time{}, d.hdr.ModTime)
}

// temp returns a name beside the given one.
func temp(name string) string {
	return path.Join(path.Dir(name), tempPrefix+rand.Text()[:16])
}

// replace puts what was made under a temporary name in its place.
func (u *unpacker) replace(tmp, name string) error {
	if info, err := u.root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%w: a directory is there", ErrPlace)
	}
	return u.root.Rename(tmp, name)
}

func (u *unpacker) file(name string, hdr *tar.Header) (err error) {
	tmp := temp(name)
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	var f *os.File
	direct := u.opts.Direct && hdr.Size >= directBytes
	if direct {
		// Where it cannot be done that shows at the opening.
		if f, err = u.root.OpenFile(tmp, flags|openDirect, 0o600); err != nil {
			direct = false
			_ = u.root.Remove(tmp)
		}
	}
	if !direct {
		if f, err = u.root.OpenFile(tmp, flags, 0o600); err != nil {
			return err
		}
	}
	defer func() {
		f.Close()
		if err != nil {
			_ = u.root.Remove(tmp)
		}
	}()
	if err := u.content(f, hdr.Size, direct); err != nil {
		return err
	}
	if err := u.own(tmp, hdr); err != nil {
		return err
	}
	u.setXattrs(f, hdr, name)
	if err := f.Chmod(u.mode(hdr)); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := u.root.Chtimes(tmp, time.Time{}, hdr.ModTime); err != nil {
		return err
	}
	return u.replace(tmp, name)
}

var zeroes [holeBytes]byte

// content writes the entry's bytes, and leaves holes for zeroes. The buffer is
// filled before it is written, so that all but the last write are aligned.
func (u *unpacker) content(f *os.File, size int64, direct bool) error {
	for off := int64(0); off < size; {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		buf := u.buf[:min(size-off, int64(len(u.buf)))]
		if _, err := io.ReadFull(u.tr, buf); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if direct && len(buf) < len(u.buf) {
			direct = false
			if err := buffered(f); err != nil {
				return err
			}
		}
		for rest := buf; len(rest) > 0; {
			data := dataIn(rest)
			if data > 0 {
				if _, err := f.WriteAt(rest[:data], off); err != nil {
					return err
				}
			}
			hole := holeIn(rest[data:])
			off += int64(data + hole)
			rest = rest[data+hole:]
		}
	}
	return f.Truncate(size)
}

// dataIn returns how many bytes come before the first part that is all zeroes.
func dataIn(b []byte) int {
	for i := 0; i < len(b); i += holeBytes {
		if part := b[i:min(i+holeBytes, len(b))]; len(part) == holeBytes && bytes.Equal(part, zeroes[:]) {
			return i
		}
	}
	return len(b)
}

// holeIn returns how many zeroes there are, in whole parts.
func holeIn(b []byte) int {
	n := 0
	for len(b)-n >= holeBytes && bytes.Equal(b[n:n+holeBytes], zeroes[:]) {
		n += holeBytes
	}
	return n
}

func (u *unpacker) symlink(name string, hdr *tar.Header) error {
	if len(hdr.Linkname) > maxName || hdr.Linkname == "" {
		return fmt.Errorf("%w: the target of the link is empty or too long", ErrArchive)
	}
	if u.opts.SafeLinks && !leadsInside(name, hdr.Linkname) {
		u.opts.Warn(fmt.Sprintf("%s is left out: it is a link that leads elsewhere: %q", name, hdr.Linkname))
		return nil
	}
	tmp := temp(name)
	if err := u.root.Symlink(hdr.Linkname, tmp); err != nil {
		return err
	}
	err := u.own(tmp, hdr)
	if err == nil {
		err = u.replace(tmp, name)
	}
	if err != nil {
		_ = u.root.Remove(tmp)
	}
	return err
}

// leadsInside reports whether a link at name, in a directory that is not reached
// over a link itself, stays inside. A ".." counts only in front: behind the name
// of another link nobody knows what it is above of.
func leadsInside(name, target string) bool {
	if path.IsAbs(target) {
		return false
	}
	depth := strings.Count(name, "/")
	up := 0
	names := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if names {
				return false
			}
			up++
		default:
			names = true
		}
	}
	return up <= depth
}

func (u *unpacker) link(name string, hdr *tar.Header) error {
	old, err := u.target(hdr.Linkname)
	if err != nil {
		return err
	}
	if u.opts.SafeLinks {
		if info, err := u.root.Lstat(old); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("%w: a hard link to %s, which is no file", ErrArchive, old)
		}
	}
	if old == name {
		return nil
	}
	tmp := temp(name)
	if err := u.root.Link(old, tmp); err != nil {
		return err
	}
	err = u.replace(tmp, name)
	// Of two names of one file a rename keeps both.
	_ = u.root.Remove(tmp)
	return err
}
