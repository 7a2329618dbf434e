package rootfs

import (
	"encoding/binary"
	"errors"
	"io"
)

// padBitmaps sets the bits of each group's inode bitmap that stand for no inode.
// The converter leaves them clear, which the kernel does not mind and e2fsck
// reports.
func padBitmaps(f interface {
	io.ReaderAt
	io.WriterAt
}) error {
	const (
		superBlock     = 1024
		magicOffset    = 0x38
		magic          = 0xef53
		descriptorSize = 32
		inodeBitmap    = 4 // offset in the descriptor
	)
	le := binary.LittleEndian
	sb := make([]byte, 1024)
	if _, err := f.ReadAt(sb, superBlock); err != nil {
		return err
	}
	if le.Uint16(sb[magicOffset:]) != magic {
		return errors.New("the converter wrote no ext4 file system")
	}
	blocks, perGroup, inodes := le.Uint32(sb[4:]), le.Uint32(sb[0x20:]), le.Uint32(sb[0x28:])
	if perGroup == 0 || inodes >= blockSize*8 {
		return nil // no padding
	}
	groups := (blocks + perGroup - 1) / perGroup
	descriptors := make([]byte, int(groups)*descriptorSize)
	if _, err := f.ReadAt(descriptors, blockSize); err != nil {
		return err
	}
	bitmap := make([]byte, blockSize)
	for g := range int(groups) {
		at := int64(le.Uint32(descriptors[g*descriptorSize+inodeBitmap:])) * blockSize
		if _, err := f.ReadAt(bitmap, at); err != nil {
			return err
		}
		for i := inodes; i < blockSize*8; i++ {
			bitmap[i/8] |= 1 << (i % 8)
		}
		if _, err := f.WriteAt(bitmap, at); err != nil {
			return err
		}
	}
	return nil
}
