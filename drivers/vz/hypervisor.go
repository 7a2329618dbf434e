package vz

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

// Options configure a Hypervisor.
type Options struct {
	// Log receives what is worth telling; nil discards it.
	Log *slog.Logger
}

// Hypervisor makes machines with the Virtualization framework.
type Hypervisor struct {
	log *slog.Logger
	// framework is the one of this build, but for tests.
	framework framework
	patience  patience
}

var _ linuxvm.Hypervisor = (*Hypervisor)(nil)

// New returns a Hypervisor. Whether this host has the framework is found out by
// Probe and Start.
func New(opts Options) *Hypervisor {
	h := &Hypervisor{log: opts.Log, framework: theFramework(), patience: defaultPatience()}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// Name is the name of the runtime.
func (h *Hypervisor) Name() string { return "vz" }

// RequiredModules names what a kernel needs to see the console and the vsock
// device.
func (h *Hypervisor) RequiredModules() []string {
	return []string{"virtio_pci", "virtio_console", "vmw_vsock_virtio_transport"}
}

// Probe says whether virtual machines can be made here.
func (h *Hypervisor) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.patience.call)
	defer cancel()
	_, err := bounded(ctx, "probe", func() (struct{}, error) { return struct{}{}, h.framework.probe() }, nil)
	return err
}

// Start starts a machine.
func (h *Hypervisor) Start(ctx context.Context, cfg linuxvm.MachineConfig) (linuxvm.Machine, error) {
	m, err := h.make(ctx, cfg, func() ([]byte, error) {
		return machineIdentifier(cfg.StateDir, h.framework.newIdentifier)
	})
	if err != nil {
		return nil, err
	}
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	h.log.DebugContext(ctx, "started a virtual machine", "id", cfg.ID)
	return m, nil
}

// make makes a machine that has yet to be started or restored.
func (h *Hypervisor) make(ctx context.Context, cfg linuxvm.MachineConfig, identifier func() ([]byte, error)) (*machine, error) {
	if err := h.Probe(ctx); err != nil {
		return nil, err
	}
	d, err := h.describe(cfg, identifier)
	if err != nil {
		return nil, err
	}
	self, err := procfs.Lookup(os.Getpid())
	if err != nil {
		return nil, err
	}
	j, err := join(d, cfg.Console)
	if err != nil {
		return nil, err
	}
	vm, err := bounded(ctx, "make the virtual machine", func() (virtualMachine, error) {
		return h.framework.newMachine(d, j.files())
	}, nil)
	if err != nil {
		j.close()
		return nil, err
	}
	m := newMachine(vm, j, h.patience)
	m.description = drivers.Machine{
		Hypervisor: h.framework.version(),
		// It is built on the framework that QEMU calls so.
		Accelerator: "hvf",
		PID:         self.PID,
		StartTime:   self.StartTime,
		Identifier:  base64.StdEncoding.EncodeToString(d.MachineIdentifier),
	}
	return m, nil
}

// describe returns the description of a machine that this host can run.
func (h *Hypervisor) describe(cfg linuxvm.MachineConfig, identifier func() ([]byte, error)) (Description, error) {
	data, err := parseRuntimeData(cfg.RuntimeData)
	if err != nil {
		return Description{}, err
	}
	if err := checkKernel(cfg.Kernel.Image, runtime.GOARCH); err != nil {
		return Description{}, err
	}
	id, err := identifier()
	if err != nil {
		return Description{}, err
	}
	d := describe(cfg, data, id)
	return d, d.within(h.framework.limits())
}

// Adopt finds nothing: a machine dies with the process that made it.
func (h *Hypervisor) Adopt(context.Context, linuxvm.MachineConfig, drivers.Machine) (linuxvm.Machine, error) {
	return nil, fmt.Errorf("%w: a machine of the Virtualization framework ends with its process", drivers.ErrNotFound)
}
