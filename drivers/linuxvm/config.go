package linuxvm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm/disk"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	maxCPUs       = 256
	minMemory     = 64 << 20
	maxContainers = 16 // of different images: each takes a slot on the machine's bus
	maxVolumes    = 8  // on disks of their own, or of the host's, which take one each too
	maxProcesses  = 1024
	// maxConfiguration bounds the file: it holds the volumes' small files.
	maxConfiguration = 16 << 20
)

// validID is of names that begin no log of the sandbox's own: see drivers.LogsDir.
var validID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// checkID says whether an id may name a process, and so its log file.
func checkID(what, id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("%s %q: %w: want letters, digits, '-', '_' and '.', at most 128", what, id, drivers.ErrInvalidArgument)
	}
	return nil
}

// readConfiguration reads and checks the bundle's configuration.
func readConfiguration(bundle string) (drivers.Configuration, error) {
	var c drivers.Configuration
	path := filepath.Join(bundle, drivers.ConfigurationFile)
	info, err := os.Stat(path)
	if err != nil {
		return c, fmt.Errorf("read the bundle: %w", notFound(err))
	}
	if info.Size() > maxConfiguration {
		return c, fmt.Errorf("%s: %w: %d bytes are too many, the most is %d", path, drivers.ErrInvalidArgument, info.Size(), maxConfiguration)
	}
	if err := state.ReadJSON(path, &c); err != nil {
		return c, fmt.Errorf("read the bundle: %w", err)
	}
	if err := checkConfiguration(c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", drivers.ErrNotFound, err)
	}
	return err
}

// checkConfiguration checks all that can be told without looking at the host.
func checkConfiguration(c drivers.Configuration) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, fmt.Errorf(format, args...))
	}
	switch {
	case c.Version != drivers.ConfigurationVersion:
		return bad("version %d is not the supported version %d", c.Version, drivers.ConfigurationVersion)
	case c.ID == "":
		return bad("id is missing")
	case c.CPUs < 1 || c.CPUs > maxCPUs:
		return bad("cpus: %d is not between 1 and %d", c.CPUs, maxCPUs)
	case c.MemoryBytes < minMemory:
		return bad("memoryBytes: %d is less than %d", c.MemoryBytes, minMemory)
	case c.DiskBytes < disk.MinBytes:
		return bad("diskBytes: %d is less than %d", c.DiskBytes, disk.MinBytes)
	case len(c.Containers) == 0:
		return bad("containers: none")
	case len(c.Containers) > maxContainers:
		return bad("containers: %d are more than %d", len(c.Containers), maxContainers)
	}
	for name, path := range map[string]string{
		"kernel.image": c.Kernel.Image, "agent": c.Agent, "cacheDir": c.CacheDir, "socketDir": c.SocketDir,
	} {
		if !filepath.IsAbs(path) {
			return bad("%s: %q is not an absolute path", name, path)
		}
	}
	for name, path := range map[string]string{"kernel.vmlinux": c.Kernel.VMLinux, "kernel.modulesDir": c.Kernel.ModulesDir} {
		if path != "" && !filepath.IsAbs(path) {
			return bad("%s: %q is not an absolute path", name, path)
		}
	}
	if err := checkInterfaces(c.Interfaces); err != nil {
		return bad("%w", err)
	}
	volumes, err := checkVolumes(c.Volumes)
	if err != nil {
		return bad("%w", err)
	}
	slots := map[string]bool{}
	for _, path := range rootfses(c) {
		slots[path] = true
	}
	for i, v := range c.Volumes {
		if ownDisk(v, "") != nil || v.HostPath != nil {
			slots[volumeSerial(i)] = true
		}
	}
	if len(slots) > maxContainers+maxVolumes {
		return bad("%d images, disks and host folders are more than %d", len(slots), maxContainers+maxVolumes)
	}
	containers := map[string]bool{}
	for _, ct := range c.Containers {
		if err := checkID("container", ct.Name); err != nil {
			return err
		}
		if containers[ct.Name] {
			return bad("containers: the name %q is used twice", ct.Name)
		}
		containers[ct.Name] = true
		if !filepath.IsAbs(ct.Rootfs) {
			return bad("container %q: rootfs: %q is not an absolute path", ct.Name, ct.Rootfs)
		}
		if len(ct.Process.Args) == 0 {
			return bad("container %q: no command to run", ct.Name)
		}
		for _, m := range ct.Mounts {
			if !volumes[m.Volume] {
				return bad("container %q: mount %s: there is no volume %q", ct.Name, m.Path, m.Volume)
			}
			if !filepath.IsAbs(m.Path) {
				return bad("container %q: mount %q is not an absolute path", ct.Name, m.Path)
			}
			if m.SubPath != "" && !filepath.IsLocal(m.SubPath) {
				return bad("container %q: mount %s: subPath %q leaves the volume", ct.Name, m.Path, m.SubPath)
			}
		}
	}
	return nil
}

// checkFiles sees that the host has the files that the configuration names.
func checkFiles(c drivers.Configuration) error {
	type file struct{ what, path, next string }
	files := []file{
		{"kernel", c.Kernel.Image, "install it again with 'vzctl kernel install'"},
		{"guest agent", c.Agent, "the installation is incomplete"},
	}
	if c.Kernel.VMLinux != "" {
		files = append(files, file{"kernel", c.Kernel.VMLinux, files[0].next})
	}
	for _, ct := range c.Containers {
		files = append(files, file{"root filesystem of container " + ct.Name, ct.Rootfs, "pull its image again"})
	}
	for _, v := range c.Volumes {
		if v.Image != nil {
			files = append(files, file{"image of volume " + v.Name, v.Image.Rootfs, "pull it again"})
		}
	}
	for _, f := range files {
		info, err := os.Stat(f.path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", f.path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %w: %s", f.what, drivers.ErrUnavailable, err, f.next)
		}
	}
	return nil
}
