package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/Microsoft/hcsshim/ext4/tar2ext4"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// FormatVersion changes when the same layers would give another file system.
const FormatVersion = 1

// DefaultMaxBytes is the limit if Options has none.
const DefaultMaxBytes = 64 << 30

// Options of Build.
type Options struct {
	// TempDir is where temporary files go, on the same file system as the result.
	TempDir string
	// MaxBytes limits what the layers unpack to; 0 means DefaultMaxBytes.
	MaxBytes int64
	// MinFree is how many bytes of the disk must stay free: below, Build fails
	// like on a full disk, with syscall.ENOSPC.
	MinFree int64
	// Progress, if not nil, is told how many more bytes of layers were read.
	Progress func(n int64)
}

// Build writes the file system that the layers, bottom first, add up to as an
// ext4 image at path: whole and on the disk, or not at all.
func Build(ctx context.Context, path string, layers []Layer, opts Options) error {
	if opts.MaxBytes == 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	space := func(int64) error { return checkSpace(opts.TempDir, opts.MinFree) }
	if err := space(0); err != nil {
		return err
	}
	contents, err := os.CreateTemp(opts.TempDir, "spool-")
	if err != nil {
		return err
	}
	defer os.Remove(contents.Name())
	defer contents.Close()

	t, sp := newTree(), newSpool(contents, opts.MaxBytes, space)
	for _, l := range layers {
		// Archives are larger than the files in them, by headers and padding.
		if err := readLayer(ctx, t, l, sp, opts.MaxBytes+opts.MaxBytes/4, opts.Progress); err != nil {
			return err
		}
	}
	if err := sp.w.finish(); err != nil {
		return err
	}

	out, err := os.CreateTemp(opts.TempDir, "rootfs-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	if err := t.writeExt4(ctx, out, contents, space); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := os.Rename(out.Name(), path); err != nil {
		return err
	}
	return state.SyncDir(filepath.Dir(path))
}

// writeExt4 writes the tree as an ext4 file system.
func (t *tree) writeExt4(ctx context.Context, out, contents *os.File, space func(int64) error) error {
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := t.writeTar(ctx, pw, contents)
		pw.CloseWithError(err)
		written <- err
	}()
	w := &sparseWriter{f: out, space: space}
	err := tar2ext4.ConvertTarToExt4(pr, w, tar2ext4.MaximumDiskSize(t.diskSize()))
	pr.CloseWithError(errStopped)
	if werr := <-written; werr != nil && !errors.Is(werr, errStopped) {
		return werr
	}
	if w.err != nil {
		return w.err
	}
	if err != nil {
		return fmt.Errorf("%w: the file system cannot hold the image: %w", ErrInvalid, err)
	}
	if err := w.finish(); err != nil {
		return err
	}
	return padBitmaps(out)
}

var errStopped = errors.New("no longer wanted")

// diskSize is a bound for the file system's size. It only sets how much room
// there is for group descriptors: the file takes what its content takes.
func (t *tree) diskSize() int64 {
	const perEntry = 2 * blockSize // inode, directory entry, attributes, a part of a block
	size := int64(1 << 30)
	var add func(n *node)
	add = func(n *node) {
		size += perEntry + n.size + n.size/1024
		for _, c := range n.children {
			add(c)
		}
	}
	add(t.root)
	return size
}

// writeTar writes the tree as a tar stream: parents before children, a file
// before its further names.
func (t *tree) writeTar(ctx context.Context, w io.Writer, contents io.ReaderAt) error {
	tw := tar.NewWriter(w)
	first := make(map[*inode]string)
	buf := make([]byte, 256<<10)
	var walk func(name string, n *node) error
	walk = func(name string, n *node) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if n.isDir() {
			if err := writeHeader(tw, n.header(name+"/")); err != nil {
				return err
			}
			for _, base := range n.sorted() {
				if err := walk(name+"/"+base, n.children[base]); err != nil {
					return err
				}
			}
			return nil
		}
		if target, ok := first[n.inode]; ok {
			return writeHeader(tw, &tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Format: tar.FormatPAX})
		}
		first[n.inode] = name
		if err := writeHeader(tw, n.header(name)); err != nil {
			return err
		}
		if n.size == 0 {
			return nil
		}
		_, err := io.CopyBuffer(onlyWriter{tw}, onlyReader{io.NewSectionReader(contents, n.offset, n.size)}, buf)
		return err
	}
	if err := walk(".", t.root); err != nil {
		return err
	}
	return tw.Close()
}

// writeHeader refuses what tar cannot say.
func writeHeader(tw *tar.Writer, hdr *tar.Header) error {
	err := tw.WriteHeader(hdr)
	if err != nil && !errors.Is(err, errStopped) {
		return fmt.Errorf("%w: entry %q: %w", ErrInvalid, hdr.Name, err)
	}
	return err
}

// onlyWriter and onlyReader make io.CopyBuffer use its buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

func (i *inode) header(name string) *tar.Header {
	hdr := &tar.Header{
		Typeflag: i.typ, Name: name, Linkname: i.link, Size: i.size, Mode: i.mode, Uid: i.uid, Gid: i.gid,
		ModTime: i.mtime, AccessTime: i.mtime, ChangeTime: i.mtime,
		Devmajor: i.major, Devminor: i.minor, Format: tar.FormatPAX,
	}
	if len(i.xattrs) > 0 {
		hdr.PAXRecords = make(map[string]string, len(i.xattrs))
		for k, v := range i.xattrs {
			hdr.PAXRecords[xattrPrefix+k] = v
		}
	}
	return hdr
}
