package state

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDirectoryThatAStrangerMayHavePlantedIsRefused(t *testing.T) {
	base := t.TempDir()
	open := filepath.Join(base, "open")
	link := filepath.Join(base, "link")
	file := filepath.Join(base, "file")
	fresh := filepath.Join(base, "deep", "fresh")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, link, file} {
		if err := MkdirOwn(dir); err == nil {
			t.Errorf("%s was accepted", dir)
		}
	}
	for range 2 {
		if err := MkdirOwn(fresh); err != nil {
			t.Error(err)
		}
	}
	if fi, err := os.Stat(fresh); err != nil || fi.Mode().Perm() != DirMode {
		t.Errorf("made %v, %v", fi, err)
	}
}

func TestDirectoryOfAnotherUserIsRefused(t *testing.T) {
	// Whoever runs the test, one of the two is not theirs.
	dir := "/proc/1"
	if os.Getuid() == 0 {
		dir = filepath.Join(t.TempDir(), "theirs")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 12345, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := MkdirOwn(dir); err == nil {
		t.Error("a directory of another user was accepted")
	}
}
