//go:build linux

package agent

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// What a container finds mounted, as in the OCI runtime specification. Devices
// work nowhere but where the guest put them: every mount is nodev, and those of
// /dev are bound one by one, so that a device node a container makes is of no
// use to it.
const (
	attrNoSUID   = unix.MOUNT_ATTR_NOSUID
	attrNoDev    = unix.MOUNT_ATTR_NODEV
	attrNoExec   = unix.MOUNT_ATTR_NOEXEC
	attrReadOnly = unix.MOUNT_ATTR_RDONLY
)

var kernelMounts = []struct {
	target, fstype string
	attrs          int
	options        []string
}{
	{"/proc", "proc", attrNoSUID | attrNoDev | attrNoExec, nil},
	{"/sys", "sysfs", attrNoSUID | attrNoDev | attrNoExec | attrReadOnly, nil},
	{"/dev", "tmpfs", attrNoSUID | attrNoDev | attrNoExec, []string{"mode=0755", "size=1m"}},
	{"/dev/pts", "devpts", attrNoSUID | attrNoExec, []string{"newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
	{"/dev/shm", "tmpfs", attrNoSUID | attrNoDev | attrNoExec, []string{"mode=1777", "size=64m"}},
	{"/dev/mqueue", "mqueue", attrNoSUID | attrNoDev | attrNoExec, nil},
}

var (
	devices  = []string{"null", "zero", "full", "random", "urandom", "tty"}
	devLinks = [][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	maskedPaths   = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
)

// buildRoot mounts all that belongs into the container's root file system, in
// the mount namespace of the calling thread.
func buildRoot(root tree, spec stageSpec) error {
	for _, m := range kernelMounts {
		if err := mountKernel(root, m.target, m.fstype, m.attrs, m.options); err != nil {
			return err
		}
	}
	if err := populateDev(root); err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		if err := mountVolume(root, m); err != nil {
			return fmt.Errorf("%w: mount at %s: %w", drivers.ErrInvalidArgument, m.Target, err)
		}
	}
	for _, f := range spec.Files {
		if err := mountFile(root, f); err != nil {
			return fmt.Errorf("mount at %s: %w", f.Target, err)
		}
	}
	for _, p := range readOnlyPaths {
		if err := makeReadOnly(root, p); err != nil {
			return fmt.Errorf("make %s read-only: %w", p, err)
		}
	}
	if err := mask(root, maskedPaths); err != nil {
		return err
	}
	if spec.ReadOnly {
		return addAttributes(root.fd, attrReadOnly)
	}
	return nil
}

func mountKernel(root tree, target, fstype string, attrs int, options []string) error {
	fd, err := root.place(target, true)
	if err != nil {
		return err
	}
	unix.Close(fd)
	// No link may stand in for one of these: programs rely on what is there.
	fd, err = root.open(target, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return fmt.Errorf("%w: %s of the image is no directory: %w", drivers.ErrInvalidArgument, target, err)
	}
	defer unix.Close(fd)
	mount, err := newMount(fstype, attrs, options...)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	if err := attach(mount, fd); err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return nil
}

func populateDev(root tree) error {
	for _, name := range devices {
		if err := bindOver(root, unix.AT_FDCWD, "/dev/"+name, attrNoSUID|attrNoExec, "/dev/"+name); err != nil {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
	}
	dev, err := root.find("/dev")
	if err != nil {
		return err
	}
	defer unix.Close(dev)
	for _, l := range devLinks {
		if err := unix.Symlinkat(l[0], dev, l[1]); err != nil {
			return fmt.Errorf("/dev/%s: %w", l[1], err)
		}
	}
	return nil
}

// bindOver binds a file at another file, which is made where it is missing.
func bindOver(root tree, dir int, source string, attrs uint64, target string) error {
	fd, err := root.place(target, false)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mount, err := cloneMount(dir, source, attrs)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return attach(mount, fd)
}

// mountVolume binds a volume, or what is at a path in it. That path is looked up
// in the volume as the container's are in its root: what a container has put
// there cannot lead out.
func mountVolume(root tree, m bindMount) error {
	vol, err := openTree(m.Source)
	if err != nil {
		return err
	}
	defer vol.close()
	source := vol.fd
	if m.SubPath != "" {
		if source, err = vol.place(m.SubPath, true); err != nil {
			return fmt.Errorf("sub-path: %w", err)
		}
		defer unix.Close(source)
	}
	dir, err := isDir(source)
	if err != nil {
		return err
	}
	target, err := root.place(m.Target, dir)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if is, err := isDir(target); err != nil || is != dir {
		return errors.Join(err, errors.New("a directory cannot be mounted at a file, nor a file at a directory"))
	}
	attrs := uint64(attrNoDev)
	if m.ReadOnly {
		attrs |= attrReadOnly
	}
	mount, err := cloneMount(source, "", attrs)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return attach(mount, target)
}

func mountFile(root tree, f bindFile) error {
	return bindOver(root, unix.AT_FDCWD, f.Source, attrNoDev|attrNoSUID|attrNoExec, f.Target)
}

func makeReadOnly(root tree, name string) error {
	fd, err := root.find(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mount, err := cloneMount(fd, "", attrReadOnly|attrNoSUID|attrNoDev|attrNoExec)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return attach(mount, fd)
}

// mask hides files behind /dev/null and directories behind an empty one.
func mask(root tree, names []string) error {
	for _, name := range names {
		if err := maskOne(root, name); err != nil {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	return nil
}

func maskOne(root tree, name string) error {
	fd, err := root.find(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	dir, err := isDir(fd)
	if err != nil {
		return err
	}
	var mount int
	if dir {
		mount, err = newMount("tmpfs", attrReadOnly|attrNoSUID|attrNoDev|attrNoExec, "mode=0555")
	} else {
		mount, err = cloneMount(unix.AT_FDCWD, "/dev/null", attrNoSUID|attrNoExec)
	}
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return attach(mount, fd)
}

// pivot makes the container's root that of the calling thread and leaves the
// guest's behind.
func pivot(root tree) error {
	if err := unix.Fchdir(root.fd); err != nil {
		return err
	}
	// Both at one place: the old root comes to lie on the new one, see pivot_root(2).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}
