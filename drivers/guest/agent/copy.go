//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/treetar"
)

func (s *server) CopyIn(stream grpc.ClientStreamingServer[wire.CopyIn, agentpb.CopyInResponse]) error {
	err := wire.ServeCopyIn(stream.Context(), stream.Recv, &s.streams, func(req drivers.CopyInRequest, archive io.Reader) error {
		return s.guest.copyIn(stream.Context(), req, archive)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&agentpb.CopyInResponse{})
}

func (s *server) CopyOut(m *wire.CopyOutStart, stream grpc.ServerStreamingServer[wire.Piece]) error {
	return wire.ServeCopyOut(stream.Context(), m, stream.Send, &s.streams, func(req drivers.CopyOutRequest, w io.Writer) error {
		return s.guest.copyOut(stream.Context(), req, w)
	})
}

// copyIn unpacks an archive in a container.
func (g *guest) copyIn(ctx context.Context, req drivers.CopyInRequest, archive io.Reader) error {
	err := g.inTree(req.Container, req.Path, func(t tree) error {
		return g.unpack(ctx, t, req, archive)
	})
	return copyError("copy into", req.Container, err)
}

func (g *guest) copyOut(ctx context.Context, req drivers.CopyOutRequest, w io.Writer) error {
	err := g.inTree(req.Container, req.Path, func(t tree) error {
		return g.pack(ctx, t, req, w)
	})
	return copyError("copy out of", req.Container, err)
}

// copyError gives an error its kind and says what it is of.
func copyError(what, container string, err error) error {
	if err == nil {
		return nil
	}
	var kind error
	switch {
	case errors.Is(err, drivers.ErrNotFound), errors.Is(err, drivers.ErrInvalidState), errors.Is(err, drivers.ErrInvalidArgument):
		return fmt.Errorf("%s container %q: %w", what, container, err)
	case errors.Is(err, fs.ErrNotExist):
		kind = drivers.ErrNotFound
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.ENOMEM):
		kind = drivers.ErrExhausted
	case errors.Is(err, treetar.ErrPlace), errors.Is(err, treetar.ErrArchive), errors.Is(err, unix.EROFS),
		errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG):
		kind = drivers.ErrInvalidArgument
	default:
		return fmt.Errorf("%s container %q: %w", what, container, err)
	}
	return fmt.Errorf("%s container %q: %w: %w", what, container, kind, err)
}

func (g *guest) unpack(ctx context.Context, t tree, req drivers.CopyInRequest, r io.Reader) error {
	archive, err := treetar.Open(r)
	if err != nil {
		return err
	}
	opts := treetar.UnpackOptions{
		KeepOwner: req.KeepOwner,
		Owner:     &treetar.Owner{},
		Direct:    true,
		Warn:      func(text string) { g.log.Warn("copy", "container", req.Container, "note", text) },
	}
	if req.Parents {
		above := treetar.Split(req.Path)
		if req.Unpack {
			above = req.Path
		}
		fd, err := t.place(above, true)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	into := req.Path
	if !req.Unpack {
		if archive.Empty() {
			return fmt.Errorf("%w: it is empty", treetar.ErrArchive)
		}
		d, err := t.destination(req.Path)
		if err != nil {
			return err
		}
		place, err := treetar.Place(d, archive.IsDir())
		if err != nil {
			return err
		}
		if !place.Inside {
			into, opts.As = treetar.Split(req.Path), place.Base
		}
	}
	dir, err := t.root(into)
	if err != nil {
		return err
	}
	defer dir.Close()
	return archive.Unpack(ctx, dir, opts)
}

func (g *guest) pack(ctx context.Context, t tree, req drivers.CopyOutRequest, w io.Writer) error {
	name := treetar.SourceName(req.Path)
	opts := treetar.PackOptions{
		Skip:   isKernelFS,
		Direct: true,
		Warn:   func(text string) { g.log.Warn("copy", "container", req.Container, "note", text) },
	}
	source := path.Clean(req.Path)
	mustBeDir := strings.HasSuffix(req.Path, "/") || name == "."
	if req.FollowLink || mustBeDir {
		d, err := t.destination(req.Path)
		switch {
		case err != nil:
			return err
		case !d.Exists:
			return fmt.Errorf("%s: %w", req.Path, fs.ErrNotExist)
		case d.IsDir:
			// From within, so that what the path leads over plays no part.
			return packDir(ctx, t, req.Path, ".", name, w, opts)
		case mustBeDir:
			return fmt.Errorf("%s: %w", req.Path, unix.ENOTDIR)
		}
		if source, err = t.resolve(source); err != nil {
			return fmt.Errorf("%s: %w", req.Path, err)
		}
	}
	return packDir(ctx, t, path.Dir(source), path.Base(source), name, w, opts)
}

// packDir packs what is at a name in a directory.
func packDir(ctx context.Context, t tree, dir, name, as string, w io.Writer, opts treetar.PackOptions) error {
	root, err := t.root(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return treetar.Pack(ctx, w, root, name, as, opts)
}

// isKernelFS reports whether a directory holds what the kernel makes up.
func isKernelFS(dir *os.File) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(int(dir.Fd()), &st) != nil {
		return false
	}
	switch st.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC, mqueueMagic:
		return true
	}
	return false
}

// mqueueMagic is MQUEUE_MAGIC of the kernel's ipc/mqueue.c.
const mqueueMagic = 0x19800202

// destination tells what is at a path.
func (t tree) destination(name string) (treetar.Destination, error) {
	d := treetar.Destination{Path: name}
	fd, err := t.find(name)
	if errors.Is(err, unix.ENOENT) {
		return d, nil
	}
	if err != nil {
		return d, fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	d.Exists = true
	d.IsDir, err = isDir(fd)
	return d, err
}

// root opens a directory as one that nothing leads out of, not even a link
// within the container.
func (t tree) root(name string) (*os.Root, error) {
	fd, err := t.open(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	return os.OpenRoot("/proc/self/fd/" + strconv.Itoa(fd))
}

// resolve follows the links at the end of a path.
func (t tree) resolve(name string) (string, error) {
	for range maxLinks {
		fd, err := t.open(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return "", err
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		target := ""
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			target, err = readlinkat(fd, "")
		}
		unix.Close(fd)
		if err != nil || target == "" {
			return name, err
		}
		if !path.IsAbs(target) {
			target = path.Dir(name) + "/" + target
		}
		name = target
	}
	return "", unix.ELOOP
}

// inTree calls do with the file system of a container, as its processes see it;
// when none runs, as they would see it but for what the kernel makes up.
func (g *guest) inTree(name, p string, do func(tree) error) error {
	if err := drivers.CheckContainerPath(p); err != nil {
		return err
	}
	g.mu.Lock()
	err := g.in("copy", phaseConfigured)
	c := g.containers[name]
	g.mu.Unlock()
	if err != nil {
		return err
	}
	if c == nil {
		return fmt.Errorf("%w: no container %q", drivers.ErrNotFound, name)
	}
	c.mu.Lock()
	pidfd := -1
	if c.init != nil {
		// The init process may end meanwhile, and its descriptor with it.
		pidfd, err = unix.FcntlInt(uintptr(c.init.pidfd), unix.F_DUPFD_CLOEXEC, 0)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if pidfd >= 0 {
		defer unix.Close(pidfd)
	}
	t, leave, err := openContainer(c, pidfd)
	if err != nil {
		return err
	}
	defer leave()
	return do(t)
}

// openContainer returns the root of a container's file system. It is a thread of
// its own that goes to where that is mounted, for there is no way back; what is
// mounted stays until leave is called. Whoever looks up paths below the root can
// be anywhere: a descriptor leads to its own mounts.
func openContainer(c *container, pidfd int) (t tree, leave func(), err error) {
	type result struct {
		tree tree
		err  error
	}
	opened := make(chan result, 1)
	left := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlock
		var r result
		r.tree, r.err = enterTree(c, pidfd)
		opened <- r
		<-left
	}()
	r := <-opened
	if r.err != nil {
		close(left)
		return tree{}, nil, r.err
	}
	return r.tree, func() {
		r.tree.close()
		close(left)
	}, nil
}

// enterTree puts the calling thread where a container's file system is mounted
// and returns its root.
func enterTree(c *container, pidfd int) (tree, error) {
	if pidfd >= 0 {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return tree{}, fmt.Errorf("leave the agent's directories: %w", err)
		}
		switch err := unix.Setns(pidfd, unix.CLONE_NEWNS); {
		case err == nil:
			return openTree("/")
		case !errors.Is(err, unix.ESRCH):
			return tree{}, fmt.Errorf("enter the container: %w", err)
		}
		// It ended this moment.
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return tree{}, fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return tree{}, fmt.Errorf("make mounts private: %w", err)
	}
	t, err := openTree(c.root)
	if err != nil {
		return tree{}, err
	}
	for _, m := range c.mounts {
		if err := mountVolume(t, m); err != nil {
			t.close()
			return tree{}, fmt.Errorf("%w: mount at %s: %w", drivers.ErrInvalidArgument, m.Target, err)
		}
	}
	if c.readOnly {
		if err := addAttributes(t.fd, attrReadOnly); err != nil {
			t.close()
			return tree{}, err
		}
	}
	return t, nil
}
