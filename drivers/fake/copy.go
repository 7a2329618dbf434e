package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/internal/treetar"
)

// DiskFile is the sandbox's disk in the bundle: a tar archive with a directory
// for each container, which holds what was copied into it. The processes of
// containers, which are only make-believe, see nothing of it.
const DiskFile = "disk.img"

// CopyIn implements drivers.Runtime.
func (r *Runtime) CopyIn(ctx context.Context, req drivers.CopyInRequest, archive io.Reader) error {
	return r.copy(ctx, "copy in", req.Container, req.Path, true, func(root *os.Root) error {
		return unpack(ctx, root, req, archive)
	})
}

// CopyOut implements drivers.Runtime.
func (r *Runtime) CopyOut(ctx context.Context, req drivers.CopyOutRequest, w io.Writer) error {
	return r.copy(ctx, "copy out", req.Container, req.Path, false, func(root *os.Root) error {
		return pack(ctx, root, req, w)
	})
}

// copy calls do with the files of a container, and keeps them if they change.
func (r *Runtime) copy(ctx context.Context, op, container, p string, changes bool, do func(*os.Root) error) error {
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.copying.Lock()
	defer r.copying.Unlock()
	r.mu.Lock()
	err := r.require(op, drivers.StateBooted, drivers.StateRunning)
	init := r.processes[container]
	disk := filepath.Join(r.bundle, DiskFile)
	r.mu.Unlock()
	switch {
	case err != nil:
		return err
	case init == nil || !init.init:
		return fmt.Errorf("%s: container %q: %w", op, container, drivers.ErrNotFound)
	}
	if err := drivers.CheckContainerPath(p); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := onDisk(ctx, disk, container, changes, do); err != nil {
		return fmt.Errorf("%s: %w", op, kind(err))
	}
	return nil
}

// kind gives an error of the file system or of an archive its kind.
func kind(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", drivers.ErrNotFound, err)
	case errors.Is(err, treetar.ErrPlace), errors.Is(err, treetar.ErrArchive):
		return fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
	}
	return err
}

// onDisk unpacks the disk, calls do with a container's directory, and packs the
// disk anew if asked to and do has succeeded.
func onDisk(ctx context.Context, disk, container string, changes bool, do func(*os.Root) error) error {
	dir, err := os.MkdirTemp(filepath.Dir(disk), "fake-disk-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer all.Close()
	if f, err := os.Open(disk); err == nil { //nolint:gosec // in the sandbox's own bundle
		defer f.Close()
		a, err := treetar.Open(f)
		if err != nil {
			return err
		}
		if err := a.Unpack(ctx, all, treetar.UnpackOptions{}); err != nil {
			return err
		}
	}
	if err := all.MkdirAll(container, state.DirMode); err != nil {
		return err
	}
	root, err := all.OpenRoot(container)
	if err != nil {
		return err
	}
	defer root.Close()
	err = do(root)
	if !changes {
		return err
	}
	// What was unpacked before a failure stays, as on a real disk.
	next, cerr := os.Create(disk + ".new") //nolint:gosec // as above
	if cerr != nil {
		return errors.Join(err, cerr)
	}
	defer next.Close()
	defer os.Remove(next.Name())
	perr := treetar.Pack(context.WithoutCancel(ctx), next, all, ".", ".", treetar.PackOptions{})
	if perr == nil {
		perr = overwrite(disk, next)
	}
	return errors.Join(err, perr)
}

// overwrite changes what a disk holds as a VM does: the file stays the same, and
// does not become smaller. What follows an archive's end is not read.
func overwrite(disk string, from *os.File) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f, err := os.OpenFile(disk, os.O_CREATE|os.O_WRONLY, state.FileMode) //nolint:gosec // in the sandbox's own bundle
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// relative makes a path in a container one below its root.
func relative(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p == "" {
		return "."
	}
	return p
}

func unpack(ctx context.Context, root *os.Root, req drivers.CopyInRequest, r io.Reader) error {
	archive, err := treetar.Open(r)
	if err != nil {
		return err
	}
	var opts treetar.UnpackOptions
	into := req.Path
	if !req.Unpack {
		if archive.Empty() {
			return fmt.Errorf("%w: it is empty", treetar.ErrArchive)
		}
		d := treetar.Destination{Path: req.Path}
		if info, err := root.Stat(relative(req.Path)); err == nil {
			d.Exists, d.IsDir = true, info.IsDir()
		}
		place, err := treetar.Place(d, archive.IsDir())
		if err != nil {
			return err
		}
		if !place.Inside {
			into, opts.As = treetar.Split(req.Path), place.Base
		}
	}
	if req.Parents {
		if err := root.MkdirAll(relative(into), 0o755); err != nil {
			return err
		}
	}
	dir, err := root.OpenRoot(relative(into))
	if err != nil {
		return err
	}
	defer dir.Close()
	return archive.Unpack(ctx, dir, opts)
}

func pack(ctx context.Context, root *os.Root, req drivers.CopyOutRequest, w io.Writer) error {
	name := relative(req.Path)
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		dir, err := root.OpenRoot(name)
		if err != nil {
			return err
		}
		defer dir.Close()
		root, name = dir, "."
	}
	return treetar.Pack(ctx, w, root, name, treetar.SourceName(req.Path), treetar.PackOptions{})
}

// SnapshotDisk implements drivers.Runtime.
func (r *Runtime) SnapshotDisk(ctx context.Context, dst string) error {
	const op = "snapshot the disk"
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.copying.Lock()
	defer r.copying.Unlock()
	r.mu.Lock()
	err := r.require(op, drivers.StateBooted, drivers.StateRunning, drivers.StateStopped)
	bundle := r.bundle
	r.mu.Unlock()
	switch {
	case err != nil:
		return err
	case bundle == "":
		return fmt.Errorf("%s: %w: it never booted", op, drivers.ErrInvalidState)
	case !filepath.IsAbs(dst):
		return fmt.Errorf("%s: %w: %q is not an absolute path", op, drivers.ErrInvalidArgument, dst)
	}
	err = sparsefile.Copy(ctx, dst, filepath.Join(bundle, DiskFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = emptyDisk(dst) // nothing was ever copied into it
	}
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, kind(err))
	}
	return nil
}

func emptyDisk(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, state.FileMode) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return f.Close()
}
