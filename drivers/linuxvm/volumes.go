package linuxvm

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm/disk"
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
		if v.Disk == nil {
			continue
		}
		if paths[v.Disk.Path] {
			return nil, fmt.Errorf("volume %q: disk %s is another volume's too", v.Name, v.Disk.Path)
		}
		paths[v.Disk.Path] = true
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
	if v.EmptyDir != nil {
		kinds++
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
	if kinds != 1 {
		return errors.New("want one of emptyDir, files, disk and hostPath")
	}
	return nil
}

// ensureVolumes makes the disks of volumes that are not there, or too small.
func ensureVolumes(volumes []drivers.Volume) error {
	for _, v := range volumes {
		if v.Disk == nil {
			continue
		}
		if err := disk.Ensure(v.Disk.Path, v.Disk.SizeBytes); err != nil {
			return fmt.Errorf("volume %q: %w", v.Name, err)
		}
	}
	return nil
}

// volumeDisks returns the block devices of the volumes that have one.
func volumeDisks(volumes []drivers.Volume) []Disk {
	var list []Disk
	for i, v := range volumes {
		if v.Disk != nil {
			list = append(list, Disk{Serial: volumeSerial(i), Path: v.Disk.Path, ReadOnly: v.Disk.ReadOnly})
		}
	}
	return list
}

func volumeSerial(i int) string { return fmt.Sprintf("volume%d", i) }

// volumeRequests is what the agent makes the volumes from.
func volumeRequests(volumes []drivers.Volume, s secrets) ([]*agentpb.Volume, error) {
	var out []*agentpb.Volume
	for i, v := range volumes {
		m := &agentpb.Volume{Name: v.Name}
		switch {
		case v.EmptyDir != nil:
			m.EmptyDir = true
			m.Memory = v.EmptyDir.Memory
			m.SizeLimitBytes = v.EmptyDir.SizeLimitBytes
		case v.Disk != nil:
			m.DiskSerial = volumeSerial(i)
			m.ReadOnly = v.Disk.ReadOnly
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
