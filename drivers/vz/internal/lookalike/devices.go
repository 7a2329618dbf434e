package vz

import (
	"crypto/rand"
	"errors"
	"os"
)

// PlatformConfiguration is a kind of hardware.
type PlatformConfiguration interface{ platformConfiguration() }

// GenericPlatformConfiguration is the hardware of a Linux guest.
type GenericPlatformConfiguration struct{ identifier *GenericMachineIdentifier }

func (*GenericPlatformConfiguration) platformConfiguration() {}

// GenericPlatformConfigurationOption is an option of NewGenericPlatformConfiguration.
type GenericPlatformConfigurationOption func(*GenericPlatformConfiguration) error

// WithGenericMachineIdentifier sets the identifier.
func WithGenericMachineIdentifier(m *GenericMachineIdentifier) GenericPlatformConfigurationOption {
	return func(c *GenericPlatformConfiguration) error {
		c.identifier = m
		return nil
	}
}

// NewGenericPlatformConfiguration returns a platform.
func NewGenericPlatformConfiguration(opts ...GenericPlatformConfigurationOption) (*GenericPlatformConfiguration, error) {
	c := &GenericPlatformConfiguration{}
	for _, opt := range opts {
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// IsNestedVirtualizationSupported reports that there is none under emulation.
func IsNestedVirtualizationSupported() bool { return false }

// SetNestedVirtualizationEnabled is refused.
func (m *GenericPlatformConfiguration) SetNestedVirtualizationEnabled(enable bool) error {
	if enable {
		return errors.New("no nested virtualization")
	}
	return nil
}

// GenericMachineIdentifier names a machine.
type GenericMachineIdentifier struct{ data []byte }

// NewGenericMachineIdentifier returns a new one.
func NewGenericMachineIdentifier() (*GenericMachineIdentifier, error) {
	data := make([]byte, 16)
	rand.Read(data) // never fails, see its documentation
	return &GenericMachineIdentifier{data}, nil
}

// NewGenericMachineIdentifierWithData returns one that was made before. Like the
// real one it panics if b is empty.
func NewGenericMachineIdentifierWithData(b []byte) (*GenericMachineIdentifier, error) {
	_ = b[0]
	return &GenericMachineIdentifier{b}, nil
}

// DataRepresentation returns what an identifier can be made from again.
func (g *GenericMachineIdentifier) DataRepresentation() []byte { return g.data }

// DiskImageCachingMode says whether the host caches a disk.
type DiskImageCachingMode int

// The modes.
const (
	DiskImageCachingModeAutomatic DiskImageCachingMode = iota
	DiskImageCachingModeUncached
	DiskImageCachingModeCached
)

// DiskImageSynchronizationMode says what a guest's flush comes to.
type DiskImageSynchronizationMode int

// The modes.
const (
	DiskImageSynchronizationModeFull DiskImageSynchronizationMode = 1 + iota
	DiskImageSynchronizationModeFsync
	DiskImageSynchronizationModeNone
)

// StorageDeviceAttachment is what is behind a disk.
type StorageDeviceAttachment interface{ storageDeviceAttachment() }

// DiskImageStorageDeviceAttachment is a raw image.
type DiskImageStorageDeviceAttachment struct {
	path     string
	readOnly bool
	caching  DiskImageCachingMode
	sync     DiskImageSynchronizationMode
}

func (*DiskImageStorageDeviceAttachment) storageDeviceAttachment() {}

// NewDiskImageStorageDeviceAttachmentWithCacheAndSync returns an attachment of an image.
func NewDiskImageStorageDeviceAttachmentWithCacheAndSync(diskPath string, readOnly bool, cachingMode DiskImageCachingMode, syncMode DiskImageSynchronizationMode) (*DiskImageStorageDeviceAttachment, error) {
	return &DiskImageStorageDeviceAttachment{diskPath, readOnly, cachingMode, syncMode}, exists(diskPath)
}

// StorageDeviceConfiguration is a disk.
type StorageDeviceConfiguration interface {
	storageDeviceConfiguration()
	Attachment() StorageDeviceAttachment
}

// VirtioBlockDeviceConfiguration is a virtio disk.
type VirtioBlockDeviceConfiguration struct {
	image      *DiskImageStorageDeviceAttachment
	identifier string
}

func (*VirtioBlockDeviceConfiguration) storageDeviceConfiguration() {}

// NewVirtioBlockDeviceConfiguration returns a disk.
func NewVirtioBlockDeviceConfiguration(attachment StorageDeviceAttachment) (*VirtioBlockDeviceConfiguration, error) {
	return &VirtioBlockDeviceConfiguration{image: attachment.(*DiskImageStorageDeviceAttachment)}, nil
}

// Attachment returns what is behind the disk.
func (v *VirtioBlockDeviceConfiguration) Attachment() StorageDeviceAttachment { return v.image }

// SetBlockDeviceIdentifier sets what the guest knows the disk by.
func (v *VirtioBlockDeviceConfiguration) SetBlockDeviceIdentifier(identifier string) error {
	if len(identifier) > 20 {
		return errors.New("a block device identifier has at most 20 bytes")
	}
	v.identifier = identifier
	return nil
}

// SerialPortAttachment is what is behind a console.
type SerialPortAttachment interface{ serialPortAttachment() }

// FileHandleSerialPortAttachment is a pair of files.
type FileHandleSerialPortAttachment struct{ read, write *os.File }

func (*FileHandleSerialPortAttachment) serialPortAttachment() {}

// NewFileHandleSerialPortAttachment returns an attachment of two files.
func NewFileHandleSerialPortAttachment(read, write *os.File) (*FileHandleSerialPortAttachment, error) {
	return &FileHandleSerialPortAttachment{read, write}, nil
}

// VirtioConsoleDeviceSerialPortConfiguration is a console.
type VirtioConsoleDeviceSerialPortConfiguration struct {
	files *FileHandleSerialPortAttachment
}

// NewVirtioConsoleDeviceSerialPortConfiguration returns a console.
func NewVirtioConsoleDeviceSerialPortConfiguration(attachment SerialPortAttachment) (*VirtioConsoleDeviceSerialPortConfiguration, error) {
	return &VirtioConsoleDeviceSerialPortConfiguration{attachment.(*FileHandleSerialPortAttachment)}, nil
}

// SocketDeviceConfiguration is a device for sockets.
type SocketDeviceConfiguration interface{ socketDeviceConfiguration() }

// VirtioSocketDeviceConfiguration is a vsock device.
type VirtioSocketDeviceConfiguration struct{}

func (*VirtioSocketDeviceConfiguration) socketDeviceConfiguration() {}

// NewVirtioSocketDeviceConfiguration returns a vsock device.
func NewVirtioSocketDeviceConfiguration() (*VirtioSocketDeviceConfiguration, error) {
	return &VirtioSocketDeviceConfiguration{}, nil
}

// VirtioEntropyDeviceConfiguration is a source of entropy.
type VirtioEntropyDeviceConfiguration struct{}

// NewVirtioEntropyDeviceConfiguration returns a source of entropy.
func NewVirtioEntropyDeviceConfiguration() (*VirtioEntropyDeviceConfiguration, error) {
	return &VirtioEntropyDeviceConfiguration{}, nil
}

// MemoryBalloonDeviceConfiguration is a memory balloon.
type MemoryBalloonDeviceConfiguration interface{ memoryBalloonDeviceConfiguration() }

// VirtioTraditionalMemoryBalloonDeviceConfiguration is a virtio memory balloon.
type VirtioTraditionalMemoryBalloonDeviceConfiguration struct{}

func (*VirtioTraditionalMemoryBalloonDeviceConfiguration) memoryBalloonDeviceConfiguration() {}

// NewVirtioTraditionalMemoryBalloonDeviceConfiguration returns a memory balloon.
func NewVirtioTraditionalMemoryBalloonDeviceConfiguration() (*VirtioTraditionalMemoryBalloonDeviceConfiguration, error) {
	return &VirtioTraditionalMemoryBalloonDeviceConfiguration{}, nil
}
