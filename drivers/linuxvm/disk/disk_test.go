package disk

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestNewDiskIsACleanSparsePrivateFileSystem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	const size = 8 << 30
	if err := Ensure(path, size); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != size || info.Mode().Perm() != 0o600 {
		t.Errorf("%d bytes, mode %s", info.Size(), info.Mode())
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 2<<20 {
		t.Errorf("it takes %d bytes of the host's disk", used)
	}
	if out, err := exec.CommandContext(t.Context(), "e2fsck", "-fn", path).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

func TestDiskIsKeptAndOnlyGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ ask, want int64 }{{128 << 20, 128 << 20}, {64 << 20, 128 << 20}} {
		if err := Ensure(path, tc.ask); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != tc.want {
			t.Errorf("asked for %d, got %d, %v", tc.ask, info.Size(), err)
		}
	}
	head := make([]byte, 4)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(head); err != nil || string(head) != "mine" {
		t.Errorf("the disk was overwritten: %q, %v", head, err)
	}
}

func TestDiskThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	if err := Ensure(filepath.Join(dir, "a"), MinBytes-1); !errors.Is(err, drivers.ErrInvalidArgument) {
		t.Errorf("too small: %v", err)
	}
	if err := Ensure(dir, MinBytes); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	if err := Ensure(filepath.Join(dir, "b"), 1<<62); !errors.Is(err, drivers.ErrExhausted) {
		t.Errorf("too large for the file system: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatACrashLeftOfADiskIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(filepath.Join(dir, ".disk.img.new"), []byte(strings.Repeat("half", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(path, MinBytes); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "e2fsck", "-fn", path).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
