//go:build !linux

package treetar

import (
	"archive/tar"
	"io/fs"
	"os"
	"syscall"
)

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return 0, 0
}

// inodeOf also reports whether there may be other names of the file.
func inodeOf(info fs.FileInfo) (inode, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, false
	}
	return inode{uint64(st.Dev), st.Ino}, st.Nlink > 1
}

// deviceOf is of no use: no device node is unpacked.
func deviceOf(fs.FileInfo) (major, minor int64) { return 0, 0 }

// segmentsOf knows of no holes; runs of zeroes become holes where they are unpacked.
func segmentsOf(*os.File, fs.FileInfo) []segment { return nil }

func addXattrs(*tar.Header, *os.File) {}

func (u *unpacker) setXattrs(*os.File, *tar.Header, string) {}
