package treetar

import (
	"archive/tar"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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
	return inode{st.Dev, st.Ino}, st.Nlink > 1
}

func deviceOf(info fs.FileInfo) (major, minor int64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return 0, 0
}

// segmentsOf returns the parts of a file that are no holes; nil if it has none.
func segmentsOf(f *os.File, info fs.FileInfo) []segment {
	st, ok := info.Sys().(*syscall.Stat_t)
	size := info.Size()
	if !ok || size == 0 || st.Blocks*512 >= size {
		return nil
	}
	fd := int(f.Fd())
	segments := []segment{}
	for off := int64(0); off < size; {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if err != nil {
			if err == unix.ENXIO { //nolint:errorlint // a bare errno: no data to the end
				break
			}
			return nil
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil || len(segments) == maxSegments {
			hole = size
		}
		hole = min(hole, size)
		if hole > data {
			segments = append(segments, segment{data, hole - data})
		}
		off = hole
	}
	if len(segments) == 1 && segments[0].length == size {
		return nil
	}
	// The map's end tells where the file ends.
	return append(segments, segment{size, 0})
}

const (
	xattrRecord = "SCHILY.xattr."
	maxXattr    = 64 << 10
)

// keptXattr reports whether an attribute goes along: those of the kernel's own
// bookkeeping mean nothing elsewhere.
func keptXattr(name string) bool {
	return strings.HasPrefix(name, "user.") || name == "security.capability"
}

// addXattrs adds a file's extended attributes, where they can be read.
func addXattrs(hdr *tar.Header, f *os.File) {
	buf := make([]byte, 1024)
	n, err := unix.Flistxattr(int(f.Fd()), buf)
	if err == unix.ERANGE { //nolint:errorlint // a bare errno
		buf = make([]byte, maxXattr)
		n, err = unix.Flistxattr(int(f.Fd()), buf)
	}
	if err != nil {
		return
	}
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if !keptXattr(name) || strings.Contains(name, "=") {
			continue
		}
		value := make([]byte, maxXattr)
		n, err := unix.Fgetxattr(int(f.Fd()), name, value)
		if err != nil {
			continue
		}
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords[xattrRecord+name] = string(value[:n])
	}
}

// setXattrs sets what the archive has of them. Capabilities go with the owner.
func (u *unpacker) setXattrs(f *os.File, hdr *tar.Header, name string) {
	for key, value := range hdr.PAXRecords {
		attr, ok := strings.CutPrefix(key, xattrRecord)
		if !ok || !keptXattr(attr) || (!u.opts.KeepOwner && !strings.HasPrefix(attr, "user.")) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), attr, []byte(value), 0); err != nil {
			u.opts.Warn(name + ": the attribute " + attr + " cannot be set: " + err.Error())
		}
	}
}
