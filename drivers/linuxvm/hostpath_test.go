package linuxvm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestShares(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "dir", "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"out": outside, "in": "dir/in", "up": "../.."} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path, typ string
		file      bool
		err       string
	}{
		{"dir", "", false, ""},
		{"dir", "Directory", false, ""},
		{".", "Directory", false, ""},
		{"in", "Directory", false, ""},
		{"file", "", true, ""},
		{"file", "File", true, ""},
		{"new/er", "DirectoryOrCreate", false, ""},
		{"new/er", "DirectoryOrCreate", false, ""},
		{"new/file", "FileOrCreate", true, ""},
		{"new/file", "FileOrCreate", true, ""},
		{"dir", "File", false, "type File does not fit"},
		{"file", "Directory", false, "type Directory does not fit"},
		{"none", "", false, "it is not there"},
		{"none", "Directory", false, "it is not there"},
		{"out", "", false, "escapes"},
		{"up", "", false, "escapes"},
		{"out/x", "DirectoryOrCreate", false, "escapes"},
	} {
		list, err := shares([]drivers.Volume{{Name: "v", HostPath: &drivers.HostPathVolume{Root: root, Path: c.path, Type: c.typ}}})
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s %s: got %v, want %q", c.path, c.typ, err, c.err)
			}
		case err != nil || len(list) != 1 || list[0].File != c.file:
			t.Errorf("%s %s: got %+v, %v", c.path, c.typ, list, err)
		}
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("something was made outside: %v", left)
	}
}
