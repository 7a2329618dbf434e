//go:build (darwin && cgo) || vzlookalike

package vz

import (
	"fmt"
	"os"

	"github.com/Code-Hex/vz/v3"
)

// addDisks adds the disks, in their order.
func addDisks(config *vz.VirtualMachineConfiguration, d Description) error {
	var devices []vz.StorageDeviceConfiguration
	for _, disk := range d.Disks {
		device, err := block(disk)
		if err != nil {
			return fmt.Errorf("disk %s: %w", disk.Path, err)
		}
		devices = append(devices, device)
	}
	config.SetStorageDevicesVirtualMachineConfiguration(devices)
	return nil
}

func block(disk DiskDescription) (*vz.VirtioBlockDeviceConfiguration, error) {
	cache := map[string]vz.DiskImageCachingMode{
		DiskCacheAuto: vz.DiskImageCachingModeAutomatic,
		DiskCacheOn:   vz.DiskImageCachingModeCached,
		DiskCacheOff:  vz.DiskImageCachingModeUncached,
	}
	sync := map[string]vz.DiskImageSynchronizationMode{
		DiskSyncFull:  vz.DiskImageSynchronizationModeFull,
		DiskSyncFsync: vz.DiskImageSynchronizationModeFsync,
		DiskSyncNone:  vz.DiskImageSynchronizationModeNone,
	}
	image, err := vz.NewDiskImageStorageDeviceAttachmentWithCacheAndSync(disk.Path, disk.ReadOnly, cache[disk.Cache], sync[disk.Sync])
	if err != nil {
		return nil, err
	}
	device, err := vz.NewVirtioBlockDeviceConfiguration(image)
	if err != nil {
		return nil, err
	}
	return device, device.SetBlockDeviceIdentifier(disk.Identifier)
}

func addConsole(config *vz.VirtualMachineConfiguration, input, output *os.File) error {
	ends, err := vz.NewFileHandleSerialPortAttachment(input, output)
	if err != nil {
		return err
	}
	port, err := vz.NewVirtioConsoleDeviceSerialPortConfiguration(ends)
	if err != nil {
		return err
	}
	config.SetSerialPortsVirtualMachineConfiguration([]*vz.VirtioConsoleDeviceSerialPortConfiguration{port})
	return nil
}

// addNetworks adds the network devices, each with its end of a datagram socket.
func addNetworks(config *vz.VirtualMachineConfiguration, d Description, ends []*os.File) error {
	var devices []*vz.VirtioNetworkDeviceConfiguration
	for i, network := range d.Networks {
		end, err := vz.NewFileHandleNetworkDeviceAttachment(ends[i])
		if err != nil {
			return err
		}
		device, err := vz.NewVirtioNetworkDeviceConfiguration(end)
		if err != nil {
			return err
		}
		mac, err := vz.NewMACAddress(network.MAC)
		if err != nil {
			return err
		}
		device.SetMACAddress(mac)
		devices = append(devices, device)
	}
	config.SetNetworkDevicesVirtualMachineConfiguration(devices)
	return nil
}

// addShares adds folders of the host's, as virtiofs.
func addShares(config *vz.VirtualMachineConfiguration, d Description) error {
	var devices []vz.DirectorySharingDeviceConfiguration
	for _, share := range d.Shares {
		folder, err := vz.NewSharedDirectory(share.Path, share.ReadOnly)
		if err != nil {
			return fmt.Errorf("share %s: %w", share.Path, err)
		}
		single, err := vz.NewSingleDirectoryShare(folder)
		if err != nil {
			return fmt.Errorf("share %s: %w", share.Path, err)
		}
		device, err := vz.NewVirtioFileSystemDeviceConfiguration(share.Tag)
		if err != nil {
			return fmt.Errorf("share %s: %w", share.Path, err)
		}
		device.SetDirectoryShare(single)
		devices = append(devices, device)
	}
	config.SetDirectorySharingDevicesVirtualMachineConfiguration(devices)
	return nil
}
