//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// volume is a directory that containers mount by name.
type volume struct {
	dir      string
	readOnly bool
	// mount is where the volume's own file system is mounted, if it has one; disk
	// says that it is on a disk.
	mount string
	disk  bool
	// fixed says that its files are not the sandbox's own: they are the host's, or an
	// image's.
	fixed bool
}

func (g *guest) makeVolumes(ctx context.Context, req *agentpb.ConfigureRequest) (map[string]volume, error) {
	volumes := map[string]volume{}
	for _, r := range req.GetVolumes() {
		name := r.GetName()
		if !nameOK(name) {
			return nil, fmt.Errorf("%w: volume name %q", drivers.ErrInvalidArgument, name)
		}
		if _, ok := volumes[name]; ok {
			return nil, fmt.Errorf("%w: volume %q is there twice", drivers.ErrInvalidArgument, name)
		}
		v, err := g.makeVolume(ctx, r)
		if err == nil && req.GetFsGroup() != nil {
			err = v.giveTo(req.GetFsGroup())
		}
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", name, err)
		}
		volumes[name] = v
	}
	return volumes, nil
}

func (g *guest) makeVolume(ctx context.Context, req *agentpb.Volume) (volume, error) {
	switch {
	case req.GetBaseSerial() != "":
		dir, err := g.mountBase(ctx, req.GetBaseSerial())
		return volume{dir: dir, fixed: true, readOnly: true}, err
	case req.GetShareTag() != "":
		return sharedVolume(req)
	case req.GetDiskSerial() != "":
		return ownDiskVolume(ctx, req)
	case !req.GetEmptyDir():
		return filesVolume(req)
	case req.GetMemory():
		return memoryVolume(req)
	default:
		return diskVolume(req)
	}
}

// ownDiskVolume mounts a disk. The volume is a directory on it, beside the file
// system's own lost+found, which many a program takes for somebody's data.
func ownDiskVolume(ctx context.Context, req *agentpb.Volume) (volume, error) {
	mount := filepath.Join(volumesDir, req.GetName())
	v := volume{dir: filepath.Join(mount, "volume"), mount: mount, disk: true, readOnly: req.GetReadOnly()}
	if err := mkdir(mount); err != nil {
		return v, err
	}
	dev, err := findDisk(ctx, req.GetDiskSerial())
	if err != nil {
		return v, err
	}
	if v.readOnly {
		return v, mountOnlyRead(dev, v)
	}
	if err := mountWritable(dev, mount); err != nil {
		return v, err
	}
	switch err := os.Mkdir(v.dir, 0o700); {
	case err == nil:
		return v, os.Chmod(v.dir, emptyDirMode)
	case errors.Is(err, fs.ErrExist):
		return v, nil
	default:
		return v, err
	}
}

// mountOnlyRead mounts a disk that nothing may write to, not even the replay of
// its journal.
func mountOnlyRead(dev string, v volume) error {
	err := unix.Mount(dev, v.mount, "ext4", unix.MS_RDONLY|unix.MS_NOATIME|unix.MS_NODEV, "")
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%w: who wrote to it last was killed: start a sandbox that may write to it once, which mends it", drivers.ErrInvalidState)
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", dev, err)
	}
	if _, err := os.Stat(v.dir); err != nil {
		return fmt.Errorf("%w: nothing was ever written to it: start a sandbox that may write to it first", drivers.ErrInvalidState)
	}
	return nil
}

// sharedVolume mounts a folder of the host's.
func sharedVolume(req *agentpb.Volume) (volume, error) {
	dir := filepath.Join(volumesDir, req.GetName())
	v := volume{dir: dir, mount: dir, fixed: true, readOnly: req.GetReadOnly()}
	if err := mkdir(dir); err != nil {
		return v, err
	}
	flags := uintptr(unix.MS_NODEV | unix.MS_NOSUID)
	if v.readOnly {
		flags |= unix.MS_RDONLY // as the host sees to, too
	}
	if err := unix.Mount(req.GetShareTag(), dir, "virtiofs", flags, ""); err != nil {
		return v, fmt.Errorf("mount what the host shares: %w", err)
	}
	return v, nil
}

// Any user of a container may write to an empty directory, as in Kubernetes.
const emptyDirMode = 0o777

func diskVolume(req *agentpb.Volume) (volume, error) {
	v := volume{dir: filepath.Join(diskDir, "volumes", req.GetName())}
	if err := mkdir(v.dir); err != nil {
		return v, err
	}
	return v, os.Chmod(v.dir, emptyDirMode)
}

func memoryVolume(req *agentpb.Volume) (volume, error) {
	dir := filepath.Join(volumesDir, req.GetName())
	v := volume{dir: dir, mount: dir}
	if err := mkdir(v.dir); err != nil {
		return v, err
	}
	options := fmt.Sprintf("mode=%#o", emptyDirMode)
	if n := req.GetSizeLimitBytes(); n > 0 {
		options += fmt.Sprintf(",size=%d", n)
	}
	return v, mountTmpfs(v.dir, options)
}

func filesVolume(req *agentpb.Volume) (volume, error) {
	dir := filepath.Join(volumesDir, req.GetName())
	v := volume{dir: dir, mount: dir, readOnly: true}
	if err := mkdir(v.dir); err != nil {
		return v, err
	}
	if err := mountTmpfs(v.dir, "mode=0755"); err != nil {
		return v, err
	}
	for _, f := range req.GetFiles() {
		if err := writeVolumeFile(v.dir, f); err != nil {
			return v, err
		}
	}
	return v, nil
}

func writeVolumeFile(dir string, f *agentpb.File) error {
	path := f.GetPath()
	if !filepath.IsLocal(path) || filepath.Clean(path) != path || path == "." {
		return fmt.Errorf("%w: file %q: not a clean path within the volume", drivers.ErrInvalidArgument, path)
	}
	if mode := f.GetMode(); mode&^0o7777 != 0 {
		return fmt.Errorf("%w: file %q: mode %#o", drivers.ErrInvalidArgument, path, mode)
	}
	path = filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
	}
	defer file.Close()
	if _, err := file.Write(f.GetData()); err != nil {
		return err
	}
	// Not through os.FileMode, which has its own idea of setuid bits.
	if err := unix.Fchmod(int(file.Fd()), f.GetMode()); err != nil {
		return err
	}
	return file.Close()
}
