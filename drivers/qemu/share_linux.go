package qemu

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

// sharedDir is where virtiofsd finds what it shares: on every host there is a /sys,
// and virtiofsd has no other use for it.
const sharedDir = "/sys/shared"

// shareProcAttr gives a helper a mount namespace of its own and, unless this process
// may mount, a user namespace in which it is root, which stands for this user.
func shareProcAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// IsShareHelper reports whether a process with these arguments is to call
// ShareHelper.
func IsShareHelper(args []string) bool { return len(args) > 6 && args[1] == shareHelperArg }

// ShareHelper is a process that has a mount namespace of its own: it puts a folder
// there at a fixed place and becomes virtiofsd. It returns only after a failure.
func ShareHelper(args []string) error {
	access, kind, root, path, command := args[2], args[3], args[4], args[5], args[6:]
	// What is written to a pipe whose reader has died must not end virtiofsd.
	signal.Ignore(syscall.SIGPIPE)
	if err := mountShared(root, path, kind == "file", access == "ro"); err != nil {
		return err
	}
	// os.Root closes its descriptors on execution, the socket stays open.
	if _, err := unix.FcntlInt(shareFD, unix.F_SETFD, 0); err != nil {
		return err
	}
	return fmt.Errorf("start %s: %w", command[0], syscall.Exec(command[0], command, os.Environ())) //nolint:gosec // given by startShare
}

// mountShared mounts what is at a path below root, out of which no link leads, at
// sharedDir.
func mountShared(root, path string, file, readOnly bool) error {
	// Nothing of this is to reach the host, which may pass mounts on to namespaces and
	// back.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	// In this namespace: what was opened in another cannot be bound.
	what, err := dir.OpenFile(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer what.Close()
	info, err := what.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() == file || !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is another kind of file than it was", filepath.Join(root, path))
	}
	if err := unix.Mount("tmpfs", filepath.Dir(sharedDir), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	if err := os.Mkdir(sharedDir, 0o755); err != nil {
		return err
	}
	target := sharedDir
	if file {
		target = filepath.Join(sharedDir, linuxvm.SharedFile)
		if err := os.WriteFile(target, nil, 0o600); err != nil {
			return err
		}
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", what.Fd()), target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	err = unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &attr)
	if err == nil && file { // beside which nothing can be made
		flags := uintptr(unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
		err = unix.Mount("", filepath.Dir(sharedDir), "", flags, "mode=0755")
	}
	if errors.Is(err, unix.ENOSYS) {
		err = errors.New("the host's kernel is older than 5.12")
	}
	if err != nil {
		return fmt.Errorf("set the flags of the mount: %w", err)
	}
	return nil
}
