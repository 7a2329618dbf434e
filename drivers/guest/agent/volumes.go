//go:build linux

package agent

import (
	"fmt"
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
	// mounted says that dir is a file system of its own.
	mounted bool
}

func makeVolumes(reqs []*agentpb.Volume) (map[string]volume, error) {
	volumes := map[string]volume{}
	for _, req := range reqs {
		name := req.GetName()
		if !nameOK(name) {
			return nil, fmt.Errorf("%w: volume name %q", drivers.ErrInvalidArgument, name)
		}
		if _, ok := volumes[name]; ok {
			return nil, fmt.Errorf("%w: volume %q is there twice", drivers.ErrInvalidArgument, name)
		}
		v, err := makeVolume(req)
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", name, err)
		}
		volumes[name] = v
	}
	return volumes, nil
}

func makeVolume(req *agentpb.Volume) (volume, error) {
	switch {
	case !req.GetEmptyDir():
		return filesVolume(req)
	case req.GetMemory():
		return memoryVolume(req)
	default:
		return diskVolume(req)
	}
}

// Any user of a container may write to an empty directory, as in Kubernetes.
const emptyDirMode = 0o777

func diskVolume(req *agentpb.Volume) (volume, error) {
	if req.GetSizeLimitBytes() > 0 {
		return volume{}, fmt.Errorf("%w yet: a size limit on the disk; use medium Memory or leave the limit out", drivers.ErrUnsupported)
	}
	v := volume{dir: filepath.Join(diskDir, "volumes", req.GetName())}
	if err := mkdir(v.dir); err != nil {
		return v, err
	}
	return v, os.Chmod(v.dir, emptyDirMode)
}

func memoryVolume(req *agentpb.Volume) (volume, error) {
	v := volume{dir: filepath.Join(volumesDir, req.GetName()), mounted: true}
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
	v := volume{dir: filepath.Join(volumesDir, req.GetName()), readOnly: true, mounted: true}
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
