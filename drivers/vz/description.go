package vz

import (
	"fmt"
	"net"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

// Description is a virtual machine in plain data: all that the framework's
// objects are made from. Every machine has, beside what is described, a console, a vsock
// device, a source of entropy and a memory balloon.
type Description struct {
	CPUs uint
	// MemoryBytes is a multiple of 1 MiB.
	MemoryBytes uint64
	// Kernel is the path of an uncompressed Image on arm64, of a bzImage on amd64.
	Kernel      string
	Initrd      string
	CommandLine string
	// MachineIdentifier is the framework's own name for the machine. It must be the
	// same at each start, and no two machines that run may share one.
	MachineIdentifier    []byte
	NestedVirtualization bool
	Disks                []DiskDescription
	Networks             []NetworkDescription
	Shares               []ShareDescription
}

// DiskDescription is a raw disk image.
type DiskDescription struct {
	// Identifier is what the guest knows the disk by, of at most 20 bytes.
	Identifier string
	Path       string
	ReadOnly   bool
	// Cache and Sync are DiskCache… and DiskSync….
	Cache string
	Sync  string
}

// NetworkDescription is a network device.
type NetworkDescription struct {
	// Socket is the path where a switch comes for the frames, see network.
	Socket string
	MAC    net.HardwareAddr
}

// ShareDescription is a folder of the host's, which the guest mounts as virtiofs.
type ShareDescription struct {
	// Tag is the name that the guest mounts it by, of at most 36 bytes.
	Tag      string
	Path     string
	ReadOnly bool
}

// limits are what the framework allows a machine on this host.
type limits struct {
	minCPUs, maxCPUs               uint
	minMemoryBytes, maxMemoryBytes uint64
}

// agentPort is the vsock port that the guest's agent listens on.
const agentPort = 1024

// consoleArgs come first on the kernel's command line: where it prints, that it
// ends when it panics, and how the agent is reached.
var consoleArgs = []string{"console=hvc0", "panic=-1", "vzr.channel=vsock"}

// describe turns a machine described for any hypervisor into one for this.
func describe(cfg linuxvm.MachineConfig, data runtimeData, identifier []byte) Description {
	args := append([]string(nil), consoleArgs...)
	args = append(args, cfg.KernelArgs...)
	args = append(args, cfg.Kernel.Args...)
	d := Description{
		CPUs:                 uint(max(cfg.CPUs, 0)),
		MemoryBytes:          roundUpMiB(cfg.MemoryBytes),
		Kernel:               cfg.Kernel.Image,
		Initrd:               cfg.Initrd,
		CommandLine:          strings.Join(args, " "),
		MachineIdentifier:    identifier,
		NestedVirtualization: cfg.NestedVirtualization,
	}
	for _, disk := range cfg.Disks {
		d.Disks = append(d.Disks, DiskDescription{
			Identifier: disk.Serial,
			Path:       disk.Path,
			ReadOnly:   disk.ReadOnly,
			Cache:      data.DiskCache,
			Sync:       data.DiskSync,
		})
	}
	return d
}

func roundUpMiB(n int64) uint64 {
	const mib = 1 << 20
	return (uint64(max(n, 0)) + mib - 1) / mib * mib
}

// within says what of a machine this host cannot give.
func (d Description) within(l limits) error {
	switch {
	case d.CPUs < l.minCPUs || d.CPUs > l.maxCPUs:
		return fmt.Errorf("cpus: %w: %d is not between %d and %d, what this Mac can give a virtual machine",
			drivers.ErrInvalidArgument, d.CPUs, l.minCPUs, l.maxCPUs)
	case d.MemoryBytes < l.minMemoryBytes || d.MemoryBytes > l.maxMemoryBytes:
		return fmt.Errorf("memory: %w: %d MiB is not between %d and %d MiB, what this Mac can give a virtual machine",
			drivers.ErrInvalidArgument, d.MemoryBytes>>20, l.minMemoryBytes>>20, l.maxMemoryBytes>>20)
	}
	return nil
}
