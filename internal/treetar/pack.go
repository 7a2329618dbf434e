package treetar

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

const (
	// maxDepth bounds how deep directories are nested: each level takes a descriptor.
	maxDepth = 500
	// maxLinked bounds how many files with several names are kept in mind. What
	// comes after them is packed once for each name.
	maxLinked = 1 << 18
	// bufferBytes is how much of a file is read or written at a time.
	bufferBytes = 512 << 10
	// dirBatch is how many names are read from a directory at a time.
	dirBatch = 512
)

// PackOptions modify Pack.
type PackOptions struct {
	// Skip reports whether the contents of a directory are left out. It is asked
	// of every directory but the first.
	Skip func(dir *os.File) bool
	// Direct reads large files past the page cache, as UnpackOptions.Direct writes.
	Direct bool
	// Warn is told of what is left out; nil discards it.
	Warn func(text string)
}

// Pack writes the file or tree at name in root to w, as a whole archive whose
// entries begin with as. A symbolic link at name is packed as such.
func Pack(ctx context.Context, w io.Writer, root *os.Root, name, as string, opts PackOptions) error {
	p := &packer{ctx: ctx, w: w, tw: tar.NewWriter(w), opts: opts, linked: map[inode]string{}, buf: alignedBuffer()}
	if p.opts.Warn == nil {
		p.opts.Warn = func(string) {}
	}
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return fmt.Errorf("%s: a socket cannot be copied", name)
	}
	if err := p.pack(root, name, as, info, 0); err != nil {
		return err
	}
	return p.tw.Close()
}

type packer struct {
	ctx    context.Context //nolint:containedctx // of the one call of Pack
	w      io.Writer
	tw     *tar.Writer
	opts   PackOptions
	linked map[inode]string
	buf    []byte
	direct bool // the file that is being packed is read past the page cache
}

// inode tells files apart that may have several names.
type inode struct{ dev, ino uint64 }

func (p *packer) pack(root *os.Root, name, as string, info fs.FileInfo, depth int) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	hdr := header(info, as)
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return p.file(root, name, hdr, info)
	case mode.IsDir():
		return p.dir(root, name, hdr, info, depth)
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return p.vanished(as, err)
		}
		hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, target
	case mode&fs.ModeNamedPipe != 0:
		hdr.Typeflag = tar.TypeFifo
	case mode&fs.ModeDevice != 0:
		hdr.Typeflag = tar.TypeBlock
		if mode&fs.ModeCharDevice != 0 {
			hdr.Typeflag = tar.TypeChar
		}
		hdr.Devmajor, hdr.Devminor = deviceOf(info)
	default:
		p.opts.Warn(fmt.Sprintf("%s is left out: sockets cannot be copied", as))
		return nil
	}
	return p.write(hdr)
}

// vanished lets a tree change while it is packed: what is gone is left out.
func (p *packer) vanished(as string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		p.opts.Warn(fmt.Sprintf("%s is left out: it was removed meanwhile", as))
		return nil
	}
	return err
}

func (p *packer) write(hdr *tar.Header) error {
	if err := p.tw.WriteHeader(hdr); err != nil {
		return fmt.Errorf("pack %s: %w", hdr.Name, err)
	}
	return nil
}

func (p *packer) dir(root *os.Root, name string, hdr *tar.Header, info fs.FileInfo, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("pack %s: more than %d directories deep", hdr.Name, maxDepth)
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return p.vanished(hdr.Name, err)
	}
	defer sub.Close()
	d, err := sub.Open(".")
	if err != nil {
		return p.vanished(hdr.Name, err)
	}
	defer d.Close()
	hdr.Typeflag = tar.TypeDir
	as := hdr.Name
	hdr.Name += "/"
	addXattrs(hdr, d)
	if err := p.write(hdr); err != nil {
		return err
	}
	if depth > 0 && p.opts.Skip != nil && p.opts.Skip(d) {
		return nil
	}
	for {
		entries, err := d.ReadDir(dirBatch)
		for _, e := range entries {
			child, lerr := sub.Lstat(e.Name())
			if lerr != nil {
				if lerr = p.vanished(path.Join(as, e.Name()), lerr); lerr != nil {
					return lerr
				}
				continue
			}
			if perr := p.pack(sub, e.Name(), join(as, e.Name()), child, depth+1); perr != nil {
				return perr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.vanished(as, err)
		}
	}
}

// join is path.Join, but for a leading ".", which it would take away.
func join(as, name string) string { return as + "/" + name }

func (p *packer) file(root *os.Root, name string, hdr *tar.Header, info fs.FileInfo) error {
	hdr.Typeflag = tar.TypeReg
	if id, several := inodeOf(info); several {
		if first, ok := p.linked[id]; ok {
			hdr.Typeflag, hdr.Linkname = tar.TypeLink, first
			return p.write(hdr)
		}
		if len(p.linked) < maxLinked {
			p.linked[id] = hdr.Name
		}
	}
	// Not to wait for a pipe that has come in the file's place.
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	var f *os.File
	var err error
	direct := p.opts.Direct && info.Size() >= directBytes
	if direct {
		// Where it cannot be done that shows at the opening.
		f, err = root.OpenFile(name, flags|openDirect, 0)
		direct = err == nil
	}
	if !direct {
		if f, err = root.OpenFile(name, flags, 0); err != nil {
			return p.vanished(hdr.Name, err)
		}
	}
	p.direct = direct
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, now) {
		p.opts.Warn(fmt.Sprintf("%s is left out: it was replaced meanwhile", hdr.Name))
		return nil
	}
	hdr.Size = now.Size()
	addXattrs(hdr, f)
	if segments := segmentsOf(f, now); segments != nil {
		return p.sparse(f, hdr, segments)
	}
	if err := p.write(hdr); err != nil {
		return err
	}
	return p.content(p.tw, f, 0, hdr.Size, hdr.Name)
}

// content copies size bytes of a file, from an offset on. Of one that is shorter
// by now the rest is zeroes, for the header has promised them.
func (p *packer) content(w io.Writer, f *os.File, off, size int64, as string) error {
	short := false
	for size > 0 {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		buf := p.buf[:min(size, int64(len(p.buf)))]
		n := len(buf)
		if p.direct && off%directAlign != 0 {
			p.direct = false
			if err := buffered(f); err != nil {
				return fmt.Errorf("pack %s: %w", as, err)
			}
		}
		if short {
			clear(buf)
		} else {
			whole := buf
			if p.direct {
				whole = p.buf // the length, too, must be aligned
			}
			var err error
			n, err = f.ReadAt(whole, off)
			n = min(n, len(buf))
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("pack %s: %w", as, err)
			}
			if n == 0 {
				short = true
				p.opts.Warn(as + " became shorter while it was copied; the rest is zeroes")
				continue
			}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		off, size = off+int64(n), size-int64(n)
	}
	return nil
}

// header describes what fs tells about a file, but for its kind.
func header(info fs.FileInfo, as string) *tar.Header {
	hdr := &tar.Header{Name: as, Mode: modeOf(info.Mode()), ModTime: info.ModTime(), Format: tar.FormatPAX}
	hdr.Uid, hdr.Gid = ownerOf(info)
	return hdr
}

// modeOf returns a mode as Unix has it.
func modeOf(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	for bit, unix := range specialModes {
		if m&bit != 0 {
			mode |= unix
		}
	}
	return mode
}

// fileMode is the reverse of modeOf.
func fileMode(mode int64) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, unix := range specialModes {
		if mode&unix != 0 {
			m |= bit
		}
	}
	return m
}

var specialModes = map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000}

// Size returns how many bytes the files at name in root hold, as far as it can
// be told: it is for showing progress.
func Size(ctx context.Context, root *os.Root, name string) int64 {
	var total int64
	_ = fs.WalkDir(root.FS(), path.Clean(name), func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read has no size to show
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
