package vz

import (
	"fmt"
	"net"
	"os"
)

// NetworkDeviceAttachment is what is behind a network device.
type NetworkDeviceAttachment interface {
	fmt.Stringer
	networkDeviceAttachment()
}

// FileHandleNetworkDeviceAttachment is a connected datagram socket, a frame each.
type FileHandleNetworkDeviceAttachment struct{ file *os.File }

func (*FileHandleNetworkDeviceAttachment) networkDeviceAttachment() {}

// String is the type's name.
func (*FileHandleNetworkDeviceAttachment) String() string { return "FileHandleNetworkDeviceAttachment" }

// NewFileHandleNetworkDeviceAttachment returns an attachment of a socket.
func NewFileHandleNetworkDeviceAttachment(file *os.File) (*FileHandleNetworkDeviceAttachment, error) {
	return &FileHandleNetworkDeviceAttachment{file}, nil
}

// MACAddress is a network device's.
type MACAddress struct{ address net.HardwareAddr }

// NewMACAddress returns an address.
func NewMACAddress(macAddr net.HardwareAddr) (*MACAddress, error) {
	return &MACAddress{macAddr}, nil
}

// VirtioNetworkDeviceConfiguration is a network device.
type VirtioNetworkDeviceConfiguration struct {
	socket *FileHandleNetworkDeviceAttachment
	mac    *MACAddress
}

// NewVirtioNetworkDeviceConfiguration returns a network device.
func NewVirtioNetworkDeviceConfiguration(attachment NetworkDeviceAttachment) (*VirtioNetworkDeviceConfiguration, error) {
	return &VirtioNetworkDeviceConfiguration{socket: attachment.(*FileHandleNetworkDeviceAttachment)}, nil
}

// SetMACAddress sets the address.
func (v *VirtioNetworkDeviceConfiguration) SetMACAddress(macAddress *MACAddress) { v.mac = macAddress }

// SetNetworkDevicesVirtualMachineConfiguration sets the network devices.
func (v *VirtualMachineConfiguration) SetNetworkDevicesVirtualMachineConfiguration(cs []*VirtioNetworkDeviceConfiguration) {
	v.networks = cs
}

// networkArgs are QEMU's for the network devices, whose sockets it inherits.
func (v *VirtualMachineConfiguration) networkArgs() (args []string, sockets []*os.File) {
	for i, n := range v.networks {
		args = append(args, "-netdev", fmt.Sprintf("dgram,id=net%d,local.type=fd,local.str=%d", i, networkFD+i),
			"-device", fmt.Sprintf("virtio-net-pci,romfile=,netdev=net%d,mac=%s", i, n.mac.address))
		sockets = append(sockets, n.socket.file)
	}
	return args, sockets
}
