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

func TestVolumesThatAreDisksAndShares(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		var base string
		dir := bundle(t, []string{"sleep"}, func(c *drivers.Configuration) {
			base = c.Containers[0].Rootfs
			c.Volumes = []drivers.Volume{
				{Name: "small", EmptyDir: &drivers.EmptyDirVolume{SizeLimitBytes: 64 << 20}},
				{Name: "img", Image: &drivers.ImageVolume{Rootfs: base}},
			}
		})
		bootWith(t, h, drivers.BootstrapRequest{Bundle: dir})
		disks := h.configs[0].Disks
		if len(disks) != 3 || disks[2].Path != filepath.Join(dir, drivers.VolumesDir, "small.img") || disks[2].Serial != "volume0" {
			t.Errorf("disks: %+v", disks)
		}
		v := h.agent.configure.GetVolumes()
		if v[0].GetDiskSerial() != "volume0" || v[0].GetEmptyDir() || v[1].GetBaseSerial() != "root0" {
			t.Errorf("volumes: %v", v)
		}
	})
	list, err := shares([]drivers.Volume{{Name: "one", HostPath: &drivers.HostPathVolume{Root: root, Path: "file"}}})
	if err != nil {
		t.Fatal(err)
	}
	v := &vm{config: drivers.Configuration{Volumes: []drivers.Volume{{Name: "one", HostPath: &drivers.HostPathVolume{}}}}, shares: list}
	req := v.containerRequest(drivers.Container{Mounts: []drivers.Mount{{Volume: "one", Path: "/etc/one"}}}, "root0")
	if got := req.GetMounts()[0].GetSubPath(); got != SharedFile {
		t.Errorf("a single file is mounted by %q", got)
	}
}
