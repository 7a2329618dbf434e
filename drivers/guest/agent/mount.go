//go:build linux

package agent

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mounting in a container goes by descriptors: a mount is made detached, gets
// its flags, and is then attached at a place that was looked up within the
// container's root. No path that a container controls is ever walked from
// anywhere else, and nothing can change between a look and a mount.

// tree is a directory that paths are looked up in and cannot lead out of: an
// absolute link starts at it, and its ".." is itself.
type tree struct{ fd int }

func openTree(dir string) (tree, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return tree{}, fmt.Errorf("open %s: %w", dir, err)
	}
	return tree{fd}, nil
}

func (t tree) close() { unix.Close(t.fd) }

// find opens what is at a path.
func (t tree) find(name string) (fd int, err error) {
	return t.open(name, unix.O_PATH, 0)
}

func (t tree) open(name string, flags, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	for range 8 {
		// EAGAIN: something was renamed meanwhile, and the kernel is not sure.
		fd, err = unix.Openat2(t.fd, "./"+strings.TrimLeft(name, "/"), &how)
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fd, err
}

// maxLinks is how many links that lead nowhere are followed.
const maxLinks = 10

// place opens a path, as find does, and makes what is missing on the way to it:
// at its end a directory, or an empty file.
func (t tree) place(name string, dir bool) (fd int, err error) {
	fd, err = t.make(name, dir, maxLinks)
	if err != nil {
		return -1, fmt.Errorf("%q in the container: %w", name, err)
	}
	return fd, nil
}

func (t tree) make(name string, dir bool, links int) (int, error) {
	fd, err := t.find(name)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	// Not path.Dir, which would take ".." away and what is before it, link or not.
	parentName, base := path.Split(strings.TrimRight(name, "/"))
	switch base {
	case "", "..":
		return -1, err
	case ".":
		return t.make(parentName, true, links)
	}
	parent, err := t.make(parentName, true, links)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if dir {
		err = unix.Mkdirat(parent, base, 0o755)
	} else {
		err = unix.Mknodat(parent, base, unix.S_IFREG|0o644, 0)
	}
	switch {
	case errors.Is(err, unix.EEXIST):
		// A link to nowhere, as in images that expect a service to make the target.
		target, err := readlinkat(parent, base)
		if err != nil {
			return -1, err
		}
		if links == 0 {
			return -1, unix.ELOOP
		}
		if !path.IsAbs(target) {
			target = parentName + "/" + target
		}
		return t.make(target, dir, links-1)
	case err != nil:
		return -1, err
	}
	return t.find(name)
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// newMount makes a detached mount of a new file system. options are "key=value"
// or "flag", attrs are MOUNT_ATTR flags.
func newMount(fstype string, attrs int, options ...string) (fd int, err error) {
	fsfd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("mount %s: %w", fstype, err)
	}
	defer unix.Close(fsfd)
	for _, o := range options {
		if key, value, ok := strings.Cut(o, "="); ok {
			err = unix.FsconfigSetString(fsfd, key, value)
		} else {
			err = unix.FsconfigSetFlag(fsfd, o)
		}
		if err != nil {
			return -1, fmt.Errorf("mount %s: option %s: %w", fstype, o, err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return -1, fmt.Errorf("mount %s: %w", fstype, err)
	}
	fd, err = unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, fmt.Errorf("mount %s: %w", fstype, err)
	}
	return fd, nil
}

// cloneMount makes a detached bind mount of what is at a path under dir, or of
// dir itself when the path is empty, with the attributes added.
func cloneMount(dir int, name string, attrs uint64) (fd int, err error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	fd, err = unix.OpenTree(dir, name, flags)
	if err != nil {
		return -1, fmt.Errorf("bind: %w", err)
	}
	if err := addAttributes(fd, attrs); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// addAttributes adds MOUNT_ATTR flags to the mount whose root a descriptor is.
func addAttributes(fd int, attrs uint64) error {
	attr := unix.MountAttr{Attr_set: attrs}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("set the flags of a mount: %w", err)
	}
	return nil
}

// attach attaches a detached mount at what an open descriptor is.
func attach(mount, target int) error {
	if err := unix.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach the mount: %w", err)
	}
	return nil
}

// isDir reports whether an open descriptor is a directory.
func isDir(fd int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// sortMounts puts a mount before those beneath it, and else keeps their order.
func sortMounts(mounts []bindMount) {
	slices.SortStableFunc(mounts, func(a, b bindMount) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
}
