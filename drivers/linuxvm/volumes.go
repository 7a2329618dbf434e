package linuxvm

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm/disk"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// checkVolumes checks the volumes and returns the names that there are.
func checkVolumes(volumes []drivers.Volume) (map[string]bool, error) {
	names, paths := map[string]bool{}, map[string]bool{}
	shares := 0
	for _, v := range volumes {
		if v.Name == "" || names[v.Name] {
			return nil, fmt.Errorf("volumes: the name %q is missing or used twice", v.Name)
		}
		names[v.Name] = true
		if err := checkVolume(v); err != nil {
			return nil, fmt.Errorf("volume %q: %w", v.Name, err)
		}
		if v.HostPath != nil {
			shares++
		}
		d := ownDisk(v, "")
		if d == nil {
			continue
		}
		if paths[d.Path] {
			return nil, fmt.Errorf("volume %q: disk %s is another volume's too", v.Name, d.Path)
		}
		paths[d.Path] = true
	}
	if len(paths) > maxVolumes {
		return nil, fmt.Errorf("volumes: %d on disks of their own are more than %d", len(paths), maxVolumes)
	}
	if shares > maxVolumes {
		return nil, fmt.Errorf("volumes: %d host folders are more than %d", shares, maxVolumes)
	}
	return names, nil
}

func checkVolume(v drivers.Volume) error {
	kinds := 0
	if e := v.EmptyDir; e != nil {
		kinds++
		if !e.Memory && e.SizeLimitBytes > 0 && e.SizeLimitBytes < disk.MinBytes {
			return fmt.Errorf("sizeLimitBytes: %d is less than %d", e.SizeLimitBytes, disk.MinBytes)
		}
		if err := checkID("volume", v.Name); err != nil {
			return err
		}
	}
	if v.Files != nil {
		kinds++
		for _, f := range v.Files.Files {
			if !filepath.IsLocal(f.Path) || filepath.Clean(f.Path) != f.Path || f.Path == "." {
				return fmt.Errorf("file %q is not a clean relative path", f.Path)
			}
		}
	}
	if d := v.Disk; d != nil {
		kinds++
		if !filepath.IsAbs(d.Path) {
			return fmt.Errorf("disk: %q is not an absolute path", d.Path)
		}
		if d.SizeBytes < disk.MinBytes {
			return fmt.Errorf("sizeBytes: %d is less than %d", d.SizeBytes, disk.MinBytes)
		}
	}
	if h := v.HostPath; h != nil {
		kinds++
		if err := checkHostPath(h); err != nil {
			return err
		}
	}
	if v.Image != nil {
		kinds++
		if !filepath.IsAbs(v.Image.Rootfs) {
			return fmt.Errorf("image: %q is not an absolute path", v.Image.Rootfs)
		}
	}
	if kinds != 1 {
		return errors.New("want one of emptyDir, files, disk, hostPath and image")
	}
	return nil
}

// ensureVolumes makes the disks of volumes that are not there, or too small.
func ensureVolumes(volumes []drivers.Volume, bundle string) error {
	for _, v := range volumes {
		d := ownDisk(v, bundle)
		if d == nil {
			continue
		}
		if v.Disk == nil {
			if err := state.MkdirAll(filepath.Dir(d.Path)); err != nil {
				return err
			}
		}
		if err := disk.Ensure(d.Path, d.SizeBytes); err != nil {
			return fmt.Errorf("volume %q: %w", v.Name, err)
		}
	}
	return nil
}

// volumeDisks returns the block devices of the volumes that have one.
func volumeDisks(volumes []drivers.Volume, bundle string) []Disk {
	var list []Disk
	for i, v := range volumes {
		if d := ownDisk(v, bundle); d != nil {
			list = append(list, Disk{Serial: volumeSerial(i), Path: d.Path, ReadOnly: d.ReadOnly})
		}
	}
	return list
}

// ownDisk returns the disk of a volume that has one: an empty directory with a limit
// of its size is on a disk of that size, in the bundle.
func ownDisk(v drivers.Volume, bundle string) *drivers.DiskVolume {
	if e := v.EmptyDir; e != nil && !e.Memory && e.SizeLimitBytes > 0 {
		return &drivers.DiskVolume{Path: filepath.Join(bundle, drivers.VolumesDir, v.Name+".img"), SizeBytes: e.SizeLimitBytes}
	}
	return v.Disk
}

func volumeSerial(i int) string { return fmt.Sprintf("volume%d", i) }

// volumeRequests is what the agent makes the volumes from.
func volumeRequests(volumes []drivers.Volume, s secrets, serials map[string]string) ([]*agentpb.Volume, error) {
	var out []*agentpb.Volume
	for i, v := range volumes {
		m := &agentpb.Volume{Name: v.Name}
		switch {
		case ownDisk(v, "") != nil:
			m.DiskSerial = volumeSerial(i)
			m.ReadOnly = v.Disk != nil && v.Disk.ReadOnly
		case v.EmptyDir != nil:
			m.EmptyDir = true
			m.Memory = v.EmptyDir.Memory
			m.SizeLimitBytes = v.EmptyDir.SizeLimitBytes
		case v.Image != nil:
			m.BaseSerial = serials[v.Image.Rootfs]
		case v.HostPath != nil:
			m.ShareTag = shareTag(i)
			m.ReadOnly = v.HostPath.ReadOnly
		case v.Files != nil:
			m.Memory = true
			for _, f := range v.Files.Files {
				data, err := s.file(f)
				if err != nil {
					return nil, fmt.Errorf("volume %q: %w", v.Name, err)
				}
				m.Files = append(m.Files, &agentpb.File{Path: f.Path, Mode: f.Mode, Data: data})
			}
		}
		out = append(out, m)
	}
	return out, nil
}
