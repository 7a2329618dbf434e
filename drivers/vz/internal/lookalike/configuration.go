package vz

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// ErrUnsupportedOSVersion is never returned here.
var ErrUnsupportedOSVersion = errors.New("unsupported macOS version")

// BootLoader is what a machine starts with.
type BootLoader interface{ bootLoader() }

// LinuxBootLoader starts a Linux kernel.
type LinuxBootLoader struct{ kernel, initrd, commandLine string }

func (*LinuxBootLoader) bootLoader() {}

// LinuxBootLoaderOption is an option of NewLinuxBootLoader.
type LinuxBootLoaderOption func(b *LinuxBootLoader) error

// WithCommandLine sets the kernel's command line.
func WithCommandLine(cmdLine string) LinuxBootLoaderOption {
	return func(b *LinuxBootLoader) error {
		b.commandLine = cmdLine
		return nil
	}
}

// WithInitrd sets the initial RAM disk.
func WithInitrd(initrdPath string) LinuxBootLoaderOption {
	return func(b *LinuxBootLoader) error {
		b.initrd = initrdPath
		return exists(initrdPath)
	}
}

// NewLinuxBootLoader returns a loader for a kernel.
func NewLinuxBootLoader(vmlinuz string, opts ...LinuxBootLoaderOption) (*LinuxBootLoader, error) {
	b := &LinuxBootLoader{kernel: vmlinuz}
	if err := exists(vmlinuz); err != nil {
		return nil, err
	}
	for _, opt := range opts {
		if err := opt(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}

// VirtualMachineConfiguration is a machine that can be made.
type VirtualMachineConfiguration struct {
	loader      *LinuxBootLoader
	cpus        uint
	memoryBytes uint64
	platform    *GenericPlatformConfiguration
	disks       []*VirtioBlockDeviceConfiguration
	serial      []*VirtioConsoleDeviceSerialPortConfiguration
	sockets     int
	entropy     int
	balloons    int
	networks    []*VirtioNetworkDeviceConfiguration
	shares      []DirectorySharingDeviceConfiguration
}

// NewVirtualMachineConfiguration returns a configuration without devices.
func NewVirtualMachineConfiguration(bootLoader BootLoader, cpu uint, memorySize uint64) (*VirtualMachineConfiguration, error) {
	return &VirtualMachineConfiguration{loader: bootLoader.(*LinuxBootLoader), cpus: cpu, memoryBytes: memorySize}, nil
}

// Validate checks what the framework documents to check.
func (v *VirtualMachineConfiguration) Validate() (bool, error) {
	switch {
	case v.memoryBytes%(1<<20) != 0:
		return false, errors.New("invalid configuration: the memory is no multiple of 1 MiB")
	case v.cpus < 1 || v.cpus > VirtualMachineConfigurationMaximumAllowedCPUCount():
		return false, fmt.Errorf("invalid configuration: %d CPUs", v.cpus)
	case v.sockets > 1:
		return false, errors.New("invalid configuration: more than one vsock device")
	case len(v.shares) > 0:
		return false, errors.New("invalid configuration: the look-alike shares no folders")
	case v.platform == nil:
		return false, errors.New("invalid configuration: no platform")
	}
	return true, nil
}

// SetPlatformVirtualMachineConfiguration sets the platform.
func (v *VirtualMachineConfiguration) SetPlatformVirtualMachineConfiguration(c PlatformConfiguration) {
	v.platform = c.(*GenericPlatformConfiguration)
}

// SetStorageDevicesVirtualMachineConfiguration sets the disks.
func (v *VirtualMachineConfiguration) SetStorageDevicesVirtualMachineConfiguration(cs []StorageDeviceConfiguration) {
	for _, c := range cs {
		v.disks = append(v.disks, c.(*VirtioBlockDeviceConfiguration))
	}
}

// SetSerialPortsVirtualMachineConfiguration sets the consoles.
func (v *VirtualMachineConfiguration) SetSerialPortsVirtualMachineConfiguration(cs []*VirtioConsoleDeviceSerialPortConfiguration) {
	v.serial = cs
}

// SetSocketDevicesVirtualMachineConfiguration sets the vsock devices.
func (v *VirtualMachineConfiguration) SetSocketDevicesVirtualMachineConfiguration(cs []SocketDeviceConfiguration) {
	v.sockets = len(cs)
}

// SetEntropyDevicesVirtualMachineConfiguration sets the sources of entropy.
func (v *VirtualMachineConfiguration) SetEntropyDevicesVirtualMachineConfiguration(cs []*VirtioEntropyDeviceConfiguration) {
	v.entropy = len(cs)
}

// SetMemoryBalloonDevicesVirtualMachineConfiguration sets the memory balloons.
func (v *VirtualMachineConfiguration) SetMemoryBalloonDevicesVirtualMachineConfiguration(cs []MemoryBalloonDeviceConfiguration) {
	v.balloons = len(cs)
}

// VirtualMachineConfigurationMinimumAllowedMemorySize is what the least machine has.
func VirtualMachineConfigurationMinimumAllowedMemorySize() uint64 { return 4 << 20 }

// VirtualMachineConfigurationMaximumAllowedMemorySize is ample.
func VirtualMachineConfigurationMaximumAllowedMemorySize() uint64 { return 1 << 40 }

// VirtualMachineConfigurationMinimumAllowedCPUCount is one.
func VirtualMachineConfigurationMinimumAllowedCPUCount() uint { return 1 }

// VirtualMachineConfigurationMaximumAllowedCPUCount is the host's.
func VirtualMachineConfigurationMaximumAllowedCPUCount() uint { return uint(runtime.NumCPU()) }
