package vz

import "errors"

// DirectoryShare is what a virtiofs device shows.
type DirectoryShare interface{ directoryShare() }

// SharedDirectory is a folder of the host's.
type SharedDirectory struct {
	path     string
	readOnly bool
}

// NewSharedDirectory returns a folder.
func NewSharedDirectory(dirPath string, readOnly bool) (*SharedDirectory, error) {
	return &SharedDirectory{dirPath, readOnly}, exists(dirPath)
}

// SingleDirectoryShare shows one folder.
type SingleDirectoryShare struct{ folder *SharedDirectory }

func (*SingleDirectoryShare) directoryShare() {}

// NewSingleDirectoryShare returns a share of a folder.
func NewSingleDirectoryShare(share *SharedDirectory) (*SingleDirectoryShare, error) {
	return &SingleDirectoryShare{share}, nil
}

// DirectorySharingDeviceConfiguration is a device that shares folders.
type DirectorySharingDeviceConfiguration interface{ directorySharingDeviceConfiguration() }

// VirtioFileSystemDeviceConfiguration is a virtiofs device.
type VirtioFileSystemDeviceConfiguration struct {
	tag   string
	share DirectoryShare
}

func (*VirtioFileSystemDeviceConfiguration) directorySharingDeviceConfiguration() {}

// NewVirtioFileSystemDeviceConfiguration returns a device.
func NewVirtioFileSystemDeviceConfiguration(tag string) (*VirtioFileSystemDeviceConfiguration, error) {
	if tag == "" || len(tag) > 36 {
		return nil, errors.New("a tag has from 1 to 36 bytes")
	}
	return &VirtioFileSystemDeviceConfiguration{tag: tag}, nil
}

// SetDirectoryShare sets what it shows.
func (c *VirtioFileSystemDeviceConfiguration) SetDirectoryShare(share DirectoryShare) {
	c.share = share
}

// SetDirectorySharingDevicesVirtualMachineConfiguration sets the devices. A machine
// with any is not started: see Validate.
func (v *VirtualMachineConfiguration) SetDirectorySharingDevicesVirtualMachineConfiguration(cs []DirectorySharingDeviceConfiguration) {
	v.shares = cs
}
