//go:build linux

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// at returns where an open descriptor is, below dir.
func at(t *testing.T, dir string, fd int) string {
	t.Helper()
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	if path == dir {
		return "/"
	}
	inside, ok := strings.CutPrefix(path, dir)
	if !ok {
		t.Fatalf("%s is outside of the tree", path)
	}
	return inside
}

func TestPlaceStaysInItsTreeWhateverLinksSay(t *testing.T) {
	outside := t.TempDir()
	tests := map[string]struct {
		links map[string]string
		name  string
		want  string
		err   error
	}{
		"new":                     {nil, "/a/b/c", "/a/b/c", nil},
		"there":                   {nil, "/there", "/there", nil},
		"dots":                    {nil, "/../../a/./b", "/a/b", nil},
		"dots after a new one":    {nil, "/new/../a", "", unix.ENOENT},
		"absolute link":           {map[string]string{"l": "/there"}, "/l/x", "/there/x", nil},
		"link out":                {map[string]string{"l": "../../../../.."}, "/l/x", "/x", nil},
		"link to a place outside": {map[string]string{"l": outside}, "/l/x", outside + "/x", nil},
		"dangling":                {map[string]string{"l": "nowhere/at/all"}, "/l", "/nowhere/at/all", nil},
		"dangling, out":           {map[string]string{"l": "../../../run/x"}, "/l", "/run/x", nil},
		"dangling, below":         {map[string]string{"there/l": "../run/x"}, "/there/l/y", "/run/x/y", nil},
		"chain":                   {map[string]string{"a": "b", "b": "c", "c": "d/e"}, "/a", "/d/e", nil},
		"to itself":               {map[string]string{"l": "l"}, "/l/x", "", unix.ELOOP},
		"dangling circle":         {map[string]string{"l": "m/x", "m": "l/y"}, "/l", "", unix.ELOOP},
		"through a file":          {nil, "/file/x", "", unix.ENOTDIR},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "there"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			for link, target := range tt.links {
				if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			tree, err := openTree(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer tree.close()
			for _, wantDir := range []bool{true, false} {
				fd, err := tree.place(tt.name, wantDir)
				if tt.err != nil {
					if !errors.Is(err, tt.err) {
						t.Errorf("error = %v, want %v", err, tt.err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := at(t, dir, fd); got != tt.want {
					t.Errorf("place = %q, want %q", got, tt.want)
				}
				unix.Close(fd)
			}
		})
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("outside there is now %v, %v", entries, err)
	}
}

func TestPlaceMakesAFileOrADirectory(t *testing.T) {
	dir := t.TempDir()
	tree, err := openTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	for name, want := range map[string]bool{"a/dir": true, "a/file": false} {
		fd, err := tree.place(name, want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := isDir(fd); err != nil || got != want {
			t.Errorf("%s: directory = %v, %v", name, got, err)
		}
		unix.Close(fd)
	}
}

func TestMountsComeBeforeThoseBeneathThem(t *testing.T) {
	mounts := []bindMount{{Target: "/a/b/c"}, {Target: "/z"}, {Target: "/a/b"}, {Target: "/a"}}
	sortMounts(mounts)
	var got []string
	for _, m := range mounts {
		got = append(got, m.Target)
	}
	if want := "/z /a /a/b /a/b/c"; strings.Join(got, " ") != want {
		t.Errorf("order = %q, want %q", got, want)
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("a", "/x", "a/b")
	f.Add("l", "../..", "/l/../x")
	f.Add("l", "l/l", "l/l/l")
	f.Fuzz(func(t *testing.T, link, target, name string) {
		dir := t.TempDir()
		root := filepath.Join(dir, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if filepath.IsLocal(link) {
			_ = os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755)
			_ = os.Symlink(target, filepath.Join(root, link))
		}
		tree, err := openTree(root)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.close()
		if fd, err := tree.place(name, true); err == nil {
			at(t, root, fd)
			unix.Close(fd)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("beside the tree: %v, %v", entries, err)
		}
	})
}
