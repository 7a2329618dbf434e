package sparsefile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func sparse(t *testing.T, path string, size int64, parts map[int64]string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off, text := range parts {
		if _, err := f.WriteAt([]byte(text), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

func TestCopyKeepsContentAndHoles(t *testing.T) {
	for name, tc := range map[string]struct {
		size  int64
		parts map[int64]string
	}{
		"empty":        {0, nil},
		"all hole":     {64 << 20, nil},
		"data at ends": {64 << 20, map[int64]string{0: "begin", 64<<20 - 3: "end"}},
		"in between":   {64<<20 + 17, map[int64]string{8 << 20: "a", 40<<20 + 4095: "bb"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
			sparse(t, src, tc.size, tc.parts)
			if err := Copy(t.Context(), dst, src); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(src)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(dst)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("another content: %d bytes, want %d, %v", len(got), len(want), err)
			}
			info, err := os.Stat(dst)
			if err != nil {
				t.Fatal(err)
			}
			if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 {
				t.Errorf("it takes %d bytes of the disk", used)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("mode %s", info.Mode())
			}
		})
	}
}

func TestCopyThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	sparse(t, src, 1<<20, map[int64]string{0: "new"})
	if err := os.WriteFile(dst, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), dst, src); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that is there: %v", err)
	}
	if err := Copy(t.Context(), filepath.Join(dir, "other"), dir); err == nil {
		t.Error("a directory was copied")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Copy(ctx, filepath.Join(dir, "other"), src); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_ = os.Remove(filepath.Join(dir, "other")) // where blocks are shared there is nothing to interrupt
	if old, err := os.ReadFile(dst); err != nil || string(old) != "old" {
		t.Errorf("the file that was there: %q, %v", old, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatACopyThatWasCutOffHasLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "disk.img")
	for _, name := range []string{"src", ".disk.img.1234567890", ".disk.img.new", ".other.img.1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemovePartial(dst); err != nil {
		t.Fatal(err)
	}
	if err := CopySync(t.Context(), dst, src); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst); err != nil || string(got) != "src" {
		t.Errorf("the copy: %q, %v", got, err)
	}
	if err := CopySync(t.Context(), dst, src); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that is there: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".disk.img.new", ".other.img.1", "disk.img", "src"}; !slices.Equal(names, want) {
		t.Errorf("left are %q, want %q", names, want)
	}
}
