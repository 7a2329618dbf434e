package rootfs

import (
	"strconv"
	"testing"
)

// mustApply applies entries of files, or of whiteouts.
func mustApply(t *testing.T, tr *tree, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := tr.apply(file(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// If each whiteout looked at all of the directory, this would take an hour.
func TestLayerFullOfWhiteoutsCostsNoMoreThanOne(t *testing.T) {
	tr := newTree()
	tr.layer = 1
	mustApply(t, tr, "d/old", "old")
	tr.layer = 2
	const n = 200_000
	for i := range n {
		mustApply(t, tr, "d/"+strconv.Itoa(i))
	}
	for range n {
		mustApply(t, tr, "d/.wh..wh..opq", ".wh.d")
	}
	d := tr.root.children["d"]
	if d == nil || len(d.children) != n || d.children["old"] != nil {
		t.Error("the whiteouts did not take away the lower layer's, and nothing else")
	}
	if tr.root.children["old"] == nil {
		t.Error("a file beside was taken away")
	}
}

func TestNamesOfHardLinksAreBounded(t *testing.T) {
	tr := newTree()
	tr.layer = 1
	mustApply(t, tr, "file")
	tr.metaBytes = maxMetaBytes - 10
	if _, err := tr.apply(hardlink("short", "file")); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.apply(hardlink("a-longer-name", "file")); err == nil {
		t.Error("hard links have no bound")
	}
}
