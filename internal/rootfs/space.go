package rootfs

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Free returns how many bytes the user may still write on the file system of dir.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:gosec,unconvert // differs by platform
}

func checkSpace(dir string, minFree int64) error {
	free, err := Free(dir)
	if err != nil {
		return err
	}
	if free < minFree {
		return fmt.Errorf("less than %d MiB are left on the disk of %s: %w", minFree>>20, dir, syscall.ENOSPC)
	}
	return nil
}
