//go:build (darwin && cgo) || vzlookalike

package vz

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/Code-Hex/vz/v3"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// theFramework returns the host's own.
func theFramework() framework { return virtualization{} }

// virtualization is the framework, by way of github.com/Code-Hex/vz.
type virtualization struct{}

// probe makes the least configuration there can be and has it checked: that is
// how a missing entitlement shows.
func (v virtualization) probe() error {
	if err := hostObstacle(); err != nil {
		return err
	}
	config, err := v.least()
	if err != nil {
		return kindOf(err)
	}
	if _, err := config.Validate(); err != nil && strings.Contains(err.Error(), "entitlement") {
		self, _ := os.Executable()
		return fmt.Errorf("%w: this program is not signed with the entitlement com.apple.security.virtualization: build it by \"make build\", or sign it: codesign --force --sign - --entitlements packaging/macos/runtime-vz.entitlements %s: %w",
			drivers.ErrUnavailable, self, err)
	}
	return nil
}

// least returns the least configuration there can be. Nothing is started with it.
func (v virtualization) least() (*vz.VirtualMachineConfiguration, error) {
	self, err := os.Executable() // a file that is there
	if err != nil {
		return nil, err
	}
	id, err := v.newIdentifier()
	if err != nil {
		return nil, err
	}
	l := v.limits()
	return configure(Description{
		CPUs: l.minCPUs, MemoryBytes: l.minMemoryBytes, MachineIdentifier: id, Kernel: self, Initrd: self,
	})
}

func (virtualization) version() string { return hostVersion() }

func (virtualization) limits() limits {
	return limits{
		minCPUs:        vz.VirtualMachineConfigurationMinimumAllowedCPUCount(),
		maxCPUs:        vz.VirtualMachineConfigurationMaximumAllowedCPUCount(),
		minMemoryBytes: vz.VirtualMachineConfigurationMinimumAllowedMemorySize(),
		maxMemoryBytes: vz.VirtualMachineConfigurationMaximumAllowedMemorySize(),
	}
}

func (virtualization) newIdentifier() ([]byte, error) {
	id, err := vz.NewGenericMachineIdentifier()
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), id.DataRepresentation()...), nil
}

func (virtualization) newMachine(d Description, f files) (virtualMachine, error) {
	config, err := configure(d)
	if err != nil {
		return nil, kindOf(err)
	}
	if err := addConsole(config, f.input, f.output); err != nil {
		return nil, kindOf(err)
	}
	if err := addNetworks(config, d, f.networks); err != nil {
		return nil, kindOf(err)
	}
	// It may say no without an error.
	if ok, err := config.Validate(); err != nil {
		return nil, kindOf(err)
	} else if !ok {
		return nil, errors.New("the Virtualization framework does not accept the configuration and does not say why")
	}
	vm, err := vz.NewVirtualMachine(config)
	if err != nil {
		return nil, kindOf(err)
	}
	return &appleMachine{VirtualMachine: vm, files: f}, nil
}

// configure makes the configuration, but for what is joined to files.
func configure(d Description) (*vz.VirtualMachineConfiguration, error) {
	loader, err := vz.NewLinuxBootLoader(d.Kernel, vz.WithCommandLine(d.CommandLine), vz.WithInitrd(d.Initrd))
	if err != nil {
		return nil, err
	}
	config, err := vz.NewVirtualMachineConfiguration(loader, d.CPUs, d.MemoryBytes)
	if err != nil {
		return nil, err
	}
	platform, err := platform(d)
	if err != nil {
		return nil, err
	}
	config.SetPlatformVirtualMachineConfiguration(platform)
	if err := addDisks(config, d); err != nil {
		return nil, err
	}
	if err := addShares(config, d); err != nil {
		return nil, err
	}
	socket, err := vz.NewVirtioSocketDeviceConfiguration()
	if err != nil {
		return nil, err
	}
	config.SetSocketDevicesVirtualMachineConfiguration([]vz.SocketDeviceConfiguration{socket})
	entropy, err := vz.NewVirtioEntropyDeviceConfiguration()
	if err != nil {
		return nil, err
	}
	config.SetEntropyDevicesVirtualMachineConfiguration([]*vz.VirtioEntropyDeviceConfiguration{entropy})
	balloon, err := vz.NewVirtioTraditionalMemoryBalloonDeviceConfiguration()
	if err != nil {
		return nil, err
	}
	config.SetMemoryBalloonDevicesVirtualMachineConfiguration([]vz.MemoryBalloonDeviceConfiguration{balloon})
	return config, nil
}

func platform(d Description) (*vz.GenericPlatformConfiguration, error) {
	id, err := vz.NewGenericMachineIdentifierWithData(d.MachineIdentifier)
	if err != nil {
		return nil, fmt.Errorf("machine identifier: %w", err)
	}
	config, err := vz.NewGenericPlatformConfiguration(vz.WithGenericMachineIdentifier(id))
	if err != nil || !d.NestedVirtualization {
		return config, err
	}
	if !vz.IsNestedVirtualizationSupported() {
		return nil, fmt.Errorf("nested virtualization: %w: it needs macOS 15 and an Apple M3 or newer", drivers.ErrUnsupported)
	}
	return config, config.SetNestedVirtualizationEnabled(true)
}

// kindOf sorts the framework's errors into the kinds that callers tell apart.
func kindOf(err error) error {
	var its *vz.NSError
	switch {
	case errors.Is(err, vz.ErrUnsupportedOSVersion):
		return fmt.Errorf("%w: macOS 13 or newer is needed: %w", drivers.ErrUnavailable, err)
	case errors.As(err, &its) && its.Code == int(vz.ErrorOutOfDiskSpace):
		return fmt.Errorf("%w: %w", drivers.ErrExhausted, err)
	}
	return err
}

// appleMachine is a virtualMachine.
type appleMachine struct {
	*vz.VirtualMachine
	// The framework knows only the files' numbers, and the garbage collector would
	// close those that nobody refers to.
	files files
}

func (m *appleMachine) Start() error { return m.VirtualMachine.Start() }

// Connect connects to a port of the one vsock device.
func (m *appleMachine) Connect(port uint32) (net.Conn, error) {
	devices := m.SocketDevices()
	if len(devices) == 0 {
		return nil, errors.New("the virtual machine has no vsock device")
	}
	conn, err := devices[0].Connect(port)
	if err != nil {
		return nil, err // not a nil *vz.VirtioSocketConnection in an interface
	}
	return conn, nil
}

// NextState waits for the next change of the state.
func (m *appleMachine) NextState(stop <-chan struct{}) (machineState, bool) {
	select {
	case s := <-m.StateChangedNotify():
		return toState(s), true
	case <-stop:
		return stateStopped, false
	}
}

func toState(s vz.VirtualMachineState) machineState {
	switch s {
	case vz.VirtualMachineStateStopped:
		return stateStopped
	case vz.VirtualMachineStateRunning:
		return stateRunning
	case vz.VirtualMachineStatePaused:
		return statePaused
	case vz.VirtualMachineStateError:
		return stateFailed
	default:
		return stateChanging
	}
}
