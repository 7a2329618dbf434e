//go:build linux

package agent

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// Permissions that a volume's group gets, as Kubernetes gives them: see
// SetVolumeOwnership in its pkg/volume. New files in a directory get its group.
const (
	groupWritable = 0o660
	groupReadable = 0o440
	groupDir      = unix.S_ISGID | 0o110
)

// giveTo gives the volume, and all that is in it, to a group. Nothing runs yet
// that could change it meanwhile.
func (v volume) giveTo(group *agentpb.FSGroup) error {
	if v.disk && v.readOnly || v.fixed {
		return nil
	}
	if group.GetOnRootMismatch() && v.belongsTo(group.GetId()) {
		return nil
	}
	mask := uint32(groupWritable)
	if v.readOnly {
		mask = groupReadable
	}
	return filepath.WalkDir(v.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, int(group.GetId())); err != nil {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		// After the change of group, which takes the setgid bit of a file away.
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		mode := st.Mode&0o7777 | mask
		if entry.IsDir() {
			mode |= groupDir
		}
		return unix.Chmod(path, mode)
	})
}

// belongsTo reports whether the volume's root is as giveTo leaves it.
func (v volume) belongsTo(group uint32) bool {
	var st unix.Stat_t
	const want = groupWritable | groupDir
	return unix.Lstat(v.dir, &st) == nil && st.Gid == group && st.Mode&want == want
}
