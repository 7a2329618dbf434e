package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

const (
	// exportMemory is what the VM of an export has: it runs nothing but the agent.
	exportMemory = 256 << 20
	// exportStop is how long its plugin process may take to end by itself.
	exportStop = 20 * time.Second
)

// Export implements api.Backend. The disk is copied at one moment; a VM of its
// own, in which no container is started, reads the copy. So the sandbox stands
// still for no longer than the copy takes, one that is stopped can be exported
// too, and no file system that a guest has written is ever read by the host.
func (m *Manager) Export(ctx context.Context, req *api.ExportRequest, w io.Writer) error {
	o, err := m.sandboxOf(req.GetObject())
	if err != nil {
		return err
	}
	ctx, end, err := m.exports.begin(ctx, o.key)
	if err != nil {
		return err
	}
	defer end()
	defer func() {
		if derr := m.discardExport(context.WithoutCancel(ctx), o); derr != nil {
			m.log.Warn("export", "object", o.key.String(), "error", derr)
		}
	}()
	// Of a daemon before this one, perhaps.
	if err := m.discardExport(ctx, o); err != nil {
		return err
	}
	cfg, runtime, err := m.exportConfiguration(o, req.GetContainer())
	if err != nil {
		return err
	}
	copied := o.bundle.Export()
	if err := state.MkdirAll(string(copied)); err != nil {
		return err
	}
	if err := state.WriteJSON(copied.ConfigurationFile(), &cfg); err != nil {
		return err
	}
	if err := m.copyDisk(ctx, o, copied.Disk()); err != nil {
		return fmt.Errorf("export %s: %w", o.key, err)
	}
	if err := m.exportFrom(ctx, runtime, string(copied), cfg.Containers[0].Name, w); err != nil {
		return fmt.Errorf("export %s: %w", o.key, err)
	}
	return nil
}

// exportConfiguration describes the VM that reads the copy of the disk: the
// sandbox's own, with the one container, and with nothing of what it needs to run.
func (m *Manager) exportConfiguration(o *object, container string) (drivers.Configuration, string, error) {
	o.mu.Lock()
	r := o.record // replaced, never changed
	o.mu.Unlock()
	switch {
	case r == nil || r.Built == nil:
		return drivers.Configuration{}, "", fmt.Errorf("%s: %w: it never ran, there is nothing to export", o.key, drivers.ErrInvalidState)
	case r.DeletionTimestamp != nil:
		return drivers.Configuration{}, "", fmt.Errorf("%s: %w: it is being removed", o.key, drivers.ErrInvalidState)
	}
	var cfg drivers.Configuration
	if err := state.ReadJSON(o.bundle.ConfigurationFile(), &cfg); err != nil {
		return cfg, "", fmt.Errorf("%s: %w", o.key, err)
	}
	c, err := o.configuredContainer(container)
	if err != nil {
		return cfg, "", err
	}
	c.Mounts, c.StopSignal, c.ReadOnlyRootfs, c.CPUMillis, c.MemoryBytes = nil, 0, false, 0, 0
	c.Process = drivers.ProcessSpec{Args: []string{"/none"}} // never started
	cfg.ID += "/export"
	cfg.CPUs, cfg.MemoryBytes = 1, min(cfg.MemoryBytes, exportMemory)
	cfg.Containers = []drivers.Container{c}
	cfg.Volumes, cfg.Interfaces, cfg.Sysctls, cfg.HostAliases, cfg.DNS = nil, nil, nil, nil, drivers.DNS{}
	cfg.NestedVirtualization = false
	return cfg, r.Built.Runtime, nil
}

// copyDisk copies the disk as it is at one moment.
func (m *Manager) copyDisk(ctx context.Context, o *object, dst string) error {
	o.mu.Lock()
	inst, idle := o.instance, o.idle()
	o.mu.Unlock()
	if inst != nil {
		return inst.SnapshotDisk(ctx, dst)
	}
	busy := fmt.Errorf("%w: it is just being started or ended: try again", drivers.ErrInvalidState)
	if !idle {
		return busy
	}
	before, err := os.Stat(o.bundle.Disk())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it has no disk, there is nothing to export", drivers.ErrInvalidState)
	}
	if err != nil {
		return err
	}
	if err := sparsefile.Copy(ctx, dst, o.bundle.Disk()); err != nil {
		return err
	}
	// A start meanwhile is no harm but to the copy.
	after, err := os.Stat(o.bundle.Disk())
	o.mu.Lock()
	idle = o.idle()
	o.mu.Unlock()
	if err != nil || !idle || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		return busy
	}
	return nil
}

// idle reports whether nothing runs of the sandbox, and nothing is being done
// about it. o.mu is held.
func (o *object) idle() bool {
	return o.instance == nil && o.attach == AttachNone && o.op == nil
}

// exportFrom boots a VM from a bundle and packs a container's root.
func (m *Manager) exportFrom(ctx context.Context, runtime, dir, container string, w io.Writer) error {
	inst, err := m.bootExport(ctx, runtime, dir)
	if inst != nil {
		defer inst.Detach()
	}
	if err != nil {
		return err
	}
	err = inst.CopyOut(ctx, drivers.CopyOutRequest{Container: container, Path: "/"}, w)
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exportStop)
	defer cancel()
	// What does not end in good order is ended when the bundle is removed.
	if serr := errors.Join(inst.Stop(sctx, drivers.StopOptions{}), inst.Shutdown(sctx)); serr != nil {
		m.log.Debug("end the VM of an export", "error", serr)
	}
	return err
}

// bootExport boots when it is its turn, like any sandbox.
func (m *Manager) bootExport(ctx context.Context, runtime, dir string) (Instance, error) {
	if err := m.boots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer m.boots.Release(1)
	inst, err := m.opts.Runtimes.Launch(ctx, runtime, dir)
	if err != nil {
		return nil, err
	}
	bctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := inst.Bootstrap(bctx, drivers.BootstrapRequest{Bundle: dir}); err != nil {
		return inst, fmt.Errorf("boot a VM to read the disk: %w", err)
	}
	return inst, nil
}
