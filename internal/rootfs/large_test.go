//go:build !race

// The race detector makes so many bytes take a minute.

package rootfs

import (
	"archive/tar"
	"testing"
)

// TestLargeFile is larger than the extents in an inode can describe.
func TestLargeFile(t *testing.T) {
	d := build(t, layer(t, "L1", &tar.Header{Typeflag: tar.TypeReg, Name: "large", Size: 700 << 20, Mode: 0o644}))
	d.wantStat("/large", "Size: 734003200")
}
