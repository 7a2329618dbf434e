package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

// Options configure a Hypervisor.
type Options struct {
	// Log receives what is worth telling; nil discards it.
	Log *slog.Logger
	// Binary is QEMU's executable, a path or a name to find on PATH. Empty means
	// qemu-system-x86_64 or qemu-system-aarch64, whichever is the host's own.
	Binary string
}

// Hypervisor makes machines with QEMU.
type Hypervisor struct {
	log    *slog.Logger
	binary string
	host   host
	// patience is that of a proof of the hardware.
	patience patience
}

var _ linuxvm.Networked = (*Hypervisor)(nil)

// New returns a Hypervisor. Whether QEMU is there is found out by Probe and Start.
func New(opts Options) *Hypervisor {
	h := &Hypervisor{log: opts.Log, binary: opts.Binary, host: thisHost(), patience: defaultPatience()}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.binary == "" {
		h.binary = "qemu-system-x86_64"
		if runtime.GOARCH == "arm64" {
			h.binary = "qemu-system-aarch64"
		}
	}
	return h
}

// Name is the name of the runtime.
func (h *Hypervisor) Name() string { return "qemu" }

// Networked implements linuxvm.Networked.
func (h *Hypervisor) Networked() {}

// RequiredModules names what a kernel needs to see the devices of Args, the
// agent's port first of all.
func (h *Hypervisor) RequiredModules() []string {
	return []string{"virtio_pci", "virtio_console"}
}

// SharesHostPaths reports whether machines can have folders of this host's.
func (h *Hypervisor) SharesHostPaths() bool { return h.host.os == "linux" }

// probeTimeout bounds how long QEMU may take to tell its version.
const probeTimeout = 20 * time.Second

// Probe runs QEMU to see that it is there and works.
func (h *Hypervisor) Probe(ctx context.Context) error {
	binary, err := h.find()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "--version").CombinedOutput()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%w: %s --version: %w: %s", drivers.ErrUnavailable, binary, err, first)
	}
	return nil
}

// find returns the path of QEMU's executable.
func (h *Hypervisor) find() (string, error) {
	path, err := exec.LookPath(h.binary)
	if err != nil {
		return "", fmt.Errorf("%w: %w: install QEMU (Debian, Ubuntu: apt install %s; Fedora: dnf install qemu-kvm; macOS: brew install qemu)",
			drivers.ErrUnavailable, err, debianPackage())
	}
	return filepath.Abs(path)
}

func debianPackage() string {
	if runtime.GOARCH == "arm64" {
		return "qemu-system-arm"
	}
	return "qemu-system-x86"
}

// Start starts a machine. With acceleration "auto" the first start on a host
// takes a few seconds longer: see accel.go.
func (h *Hypervisor) Start(ctx context.Context, cfg linuxvm.MachineConfig) (linuxvm.Machine, error) {
	p, err := h.plan(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return h.launch(ctx, cfg, p)
}

// plan decides what a machine of this configuration runs on.
func (h *Hypervisor) plan(ctx context.Context, cfg linuxvm.MachineConfig) (plan, error) {
	data, err := parseRuntimeData(cfg.RuntimeData, h.host.os, h.host.arch)
	if err != nil {
		return plan{}, err
	}
	binary, err := h.find()
	if err != nil {
		return plan{}, err
	}
	choice, err := h.accelerator(ctx, binary, cfg, data)
	if err != nil {
		return plan{}, err
	}
	if cfg.NestedVirtualization && choice.Accelerator != accelKVM {
		return plan{}, fmt.Errorf("nested virtualization: %w: it needs KVM, and this machine would run on %s",
			drivers.ErrUnsupported, choice)
	}
	return plan{binary: binary, typ: data.Machine, choice: choice}, nil
}

// Spec returns the description of a machine on this host, as Start would build it,
// with the given accelerator: what a comparison with a bare QEMU needs.
func (h *Hypervisor) Spec(cfg linuxvm.MachineConfig, typ, accelerator string) (Spec, error) {
	binary, err := h.find()
	if err != nil {
		return Spec{}, err
	}
	return newSpec(cfg, h.host.os, typ, accelerator, firmware(binary, typ)), nil
}

// newSpec turns a machine described for any hypervisor into one for this.
func newSpec(cfg linuxvm.MachineConfig, goos, typ, accelerator, firmware string) Spec {
	s := Spec{
		Name:                 cfg.ID,
		Type:                 typ,
		Accelerator:          accelerator,
		Firmware:             firmware,
		CPUs:                 cfg.CPUs,
		MemoryBytes:          cfg.MemoryBytes,
		NestedVirtualization: cfg.NestedVirtualization,
		Seccomp:              goos == "linux",
		Kernel:               cfg.Kernel.Image,
		Initrd:               cfg.Initrd,
		Disks:                cfg.Disks,
		Interfaces:           cfg.Interfaces,
		Sockets:              true,
	}
	if typ == "q35" && cfg.Kernel.VMLinux != "" {
		// Entered by PVH, the kernel has nothing to unpack: some 15 % of the boot
		// under TCG.
		s.Kernel = cfg.Kernel.VMLinux
	}
	s.KernelArgs = append(s.KernelArgs, cfg.KernelArgs...)
	s.KernelArgs = append(s.KernelArgs, cfg.Kernel.Args...)
	return s
}

// firmware returns the path of qboot, which QEMU's packages ship beside SeaBIOS:
// it looks for no boot device and saves some 10 % of the boot under TCG. Empty
// means QEMU's default.
func firmware(binary, typ string) string {
	if typ != "q35" {
		return ""
	}
	if resolved, err := filepath.EvalSymlinks(binary); err == nil {
		binary = resolved
	}
	path := filepath.Join(filepath.Dir(binary), "..", "share", "qemu", "qboot.rom")
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return path
}

// describeStartError sorts what QEMU says when it does not start into the kinds
// that callers tell apart.
func describeStartError(text string) error {
	if strings.Contains(text, "Cannot allocate memory") {
		return fmt.Errorf("%w: %s", drivers.ErrExhausted, text)
	}
	return errors.New(text)
}
