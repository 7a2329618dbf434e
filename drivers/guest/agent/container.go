//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// container is what outlives its processes: the root file system with its
// layer, the cgroup, and what gets mounted.
type container struct {
	name     string
	root     string // its root file system
	readOnly bool
	mounts   []bindMount
	files    []bindFile
	cgroup   string

	mu   sync.Mutex
	init *initProcess // nil when none runs
}

// initProcess is the running PID 1 of a container.
type initProcess struct {
	*child
	pidfd        int
	capabilities []string
}

// bindMount is a volume, or a part of it, to be mounted.
type bindMount struct {
	Source   string
	SubPath  string
	Target   string
	ReadOnly bool
}

// bindFile is a file of the guest's to be mounted.
type bindFile struct {
	Source, Target string
}

// defaultCapabilities are those of Docker and containerd.
func defaultCapabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
		"CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP",
		"CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

func (g *guest) createContainer(ctx context.Context, req *agentpb.CreateContainerRequest) error {
	name := req.GetName()
	if !nameOK(name) {
		return fmt.Errorf("%w: container name %q", drivers.ErrInvalidArgument, name)
	}
	c := &container{name: name, readOnly: req.GetReadOnlyRootfs(), root: filepath.Join(rootsDir, name)}
	if err := g.reserve(c, req.GetMounts()); err != nil {
		return err
	}
	if err := g.setUp(ctx, c, req); err != nil {
		g.mu.Lock()
		delete(g.containers, name)
		g.mu.Unlock()
		return fmt.Errorf("container %q: %w", name, err)
	}
	return nil
}

// reserve takes the container's name and looks its volumes up.
func (g *guest) reserve(c *container, mounts []*agentpb.Mount) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.in("create container", phaseConfigured); err != nil {
		return err
	}
	if _, ok := g.containers[c.name]; ok {
		return fmt.Errorf("%w: container %q is there already", drivers.ErrInvalidArgument, c.name)
	}
	for _, m := range mounts {
		v, ok := g.volumes[m.GetVolume()]
		if !ok {
			return fmt.Errorf("%w: container %q mounts volume %q, which is not there", drivers.ErrInvalidArgument, c.name, m.GetVolume())
		}
		target := path.Clean(m.GetPath())
		if !path.IsAbs(target) || target == "/" || strings.Contains(target+m.GetSubPath(), "\x00") {
			return fmt.Errorf("%w: container %q: volume %q cannot be mounted at %q", drivers.ErrInvalidArgument, c.name, m.GetVolume(), m.GetPath())
		}
		c.mounts = append(c.mounts, bindMount{
			Source: v.dir, SubPath: m.GetSubPath(), Target: target, ReadOnly: m.GetReadOnly() || v.readOnly,
		})
	}
	sortMounts(c.mounts)
	g.containers[c.name] = c
	return nil
}

func (g *guest) setUp(ctx context.Context, c *container, req *agentpb.CreateContainerRequest) error {
	base, err := g.mountBase(ctx, req.GetRootfsSerial())
	if err != nil {
		return err
	}
	if err := mountOverlay(base, filepath.Join(diskDir, "containers", c.name), c.root); err != nil {
		return err
	}
	c.cgroup, err = createGroup(c.name, req.GetCpuMillis(), req.GetMemoryBytes())
	if err != nil {
		return err
	}
	g.mu.Lock()
	etc := g.etc
	g.mu.Unlock()
	c.files, err = etc.write(filepath.Join(etcDir, c.name))
	return err
}

// mountOverlay mounts a base, and over it the layer that holds what a container
// changes, at target.
func mountOverlay(base, layer, target string) error {
	upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
	for _, dir := range []string{upper, work, target} {
		if err := mkdir(dir); err != nil {
			return err
		}
	}
	// The root directory of the whole is the upper one: it looks like the base's.
	if err := copyAttributes(base, upper); err != nil {
		return err
	}
	options := "lowerdir=" + base + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", target, "overlay", unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount the root file system: %w", err)
	}
	return nil
}

func copyAttributes(from, to string) error {
	// Once is enough: the container may have changed it since.
	marker := to + ".made"
	if _, err := os.Stat(marker); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return err
	}
	if err := os.Chown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	return os.WriteFile(marker, nil, 0o600)
}

// running returns the container's init process.
func (c *container) running() (*initProcess, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.init == nil {
		return nil, fmt.Errorf("%w: container %q is not running", drivers.ErrInvalidState, c.name)
	}
	return c.init, nil
}
