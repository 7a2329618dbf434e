//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// ext4ResizeFS is EXT4_IOC_RESIZE_FS of the kernel's fs/ext4/ext4.h: grow a
// mounted file system to a number of blocks.
const ext4ResizeFS = 0x40086610

// findDisk returns the device of the disk with a serial.
func findDisk(ctx context.Context, serial string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var dev string
	err := waitFor(ctx, 2*time.Millisecond, func() (bool, error) {
		files, err := filepath.Glob("/sys/block/*/serial")
		if err != nil {
			return false, err
		}
		for _, file := range files {
			got, err := os.ReadFile(file)
			if err == nil && strings.TrimSpace(string(got)) == serial {
				dev = "/dev/" + filepath.Base(filepath.Dir(file))
				return true, nil
			}
		}
		return false, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%w: the machine has no disk with serial %q", drivers.ErrNotFound, serial)
	}
	return dev, err
}

// mountDisk mounts the writable disk, as large as its device is; without one
// there is memory in its stead.
func mountDisk(ctx context.Context, serial string) error {
	if err := mkdir(diskDir); err != nil {
		return err
	}
	if serial == "" {
		return mountTmpfs(diskDir, "mode=0700")
	}
	dev, err := findDisk(ctx, serial)
	if err != nil {
		return err
	}
	if err := mountWritable(dev, diskDir); err != nil {
		return fmt.Errorf("the writable disk: %w", err)
	}
	return nil
}

// mountWritable mounts an ext4 file system and makes it as large as its device.
func mountWritable(dev, dir string) error {
	if err := unix.Mount(dev, dir, "ext4", unix.MS_NOATIME|unix.MS_NODEV, "errors=remount-ro"); err != nil {
		return fmt.Errorf("mount %s: %w", dev, err)
	}
	if err := grow(dev, dir); err != nil {
		return fmt.Errorf("grow the file system: %w", err)
	}
	return nil
}

func grow(dev, dir string) error {
	d, err := os.Open(dev)
	if err != nil {
		return err
	}
	defer d.Close()
	size, err := unix.IoctlGetInt(int(d.Fd()), unix.BLKGETSIZE64)
	if err != nil {
		return fmt.Errorf("size of %s: %w", dev, err)
	}
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(root.Fd()), &st); err != nil {
		return err
	}
	blocks := uint64(size) / uint64(st.Bsize)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, root.Fd(), ext4ResizeFS, uintptr(unsafe.Pointer(&blocks)))
	if errno != 0 {
		return fmt.Errorf("to %d blocks of %d bytes: %w", blocks, st.Bsize, errno)
	}
	return nil
}

// mountBase mounts the root file system of an image, once for all containers of
// that image, and returns where.
func (g *guest) mountBase(ctx context.Context, serial string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if dir, ok := g.bases[serial]; ok {
		return dir, nil
	}
	dev, err := findDisk(ctx, serial)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(basesDir, filepath.Base(dev))
	if err := mkdir(dir); err != nil {
		return "", err
	}
	// noload: the disk is read-only for good, so it has no journal to replay.
	if err := unix.Mount(dev, dir, "ext4", unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOATIME, "noload"); err != nil {
		return "", fmt.Errorf("mount the root file system of disk %q: %w", serial, err)
	}
	g.bases[serial] = dir
	return dir, nil
}

func mountTmpfs(dir, options string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return nil
}
