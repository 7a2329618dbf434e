package linuxvm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestConfigurationsThatMakeNoSandboxAreRefused(t *testing.T) {
	container := func(edit func(*drivers.Container)) func(*drivers.Configuration) {
		return func(c *drivers.Configuration) { edit(&c.Containers[0]) }
	}
	for name, tc := range map[string]struct {
		edit func(*drivers.Configuration)
		kind error
		want string
	}{
		"version":        {func(c *drivers.Configuration) { c.Version = 2 }, drivers.ErrInvalidArgument, "version 2 is not the supported version 1"},
		"no id":          {func(c *drivers.Configuration) { c.ID = "" }, drivers.ErrInvalidArgument, "id is missing"},
		"no cpus":        {func(c *drivers.Configuration) { c.CPUs = 0 }, drivers.ErrInvalidArgument, "cpus: 0"},
		"no memory":      {func(c *drivers.Configuration) { c.MemoryBytes = 0 }, drivers.ErrInvalidArgument, "memoryBytes: 0"},
		"tiny disk":      {func(c *drivers.Configuration) { c.DiskBytes = 1 }, drivers.ErrInvalidArgument, "diskBytes: 1"},
		"no containers":  {func(c *drivers.Configuration) { c.Containers = nil }, drivers.ErrInvalidArgument, "containers: none"},
		"relative path":  {func(c *drivers.Configuration) { c.Agent = "agent" }, drivers.ErrInvalidArgument, `agent: "agent" is not an absolute path`},
		"relative cache": {func(c *drivers.Configuration) { c.CacheDir = "" }, drivers.ErrInvalidArgument, "cacheDir"},
		"twice": {func(c *drivers.Configuration) { c.Containers = append(c.Containers, c.Containers[0]) },
			drivers.ErrInvalidArgument, `"web" is used twice`},
		"path in a name": {container(func(c *drivers.Container) { c.Name = "../web" }), drivers.ErrInvalidArgument, `container "../web"`},
		"name of a log":  {container(func(c *drivers.Container) { c.Name = "_console" }), drivers.ErrInvalidArgument, `container "_console"`},
		"no command":     {container(func(c *drivers.Container) { c.Process.Args = nil }), drivers.ErrInvalidArgument, "no command"},
		"unknown volume": {container(func(c *drivers.Container) { c.Mounts = []drivers.Mount{{Volume: "v", Path: "/v"}} }),
			drivers.ErrInvalidArgument, `no volume "v"`},
		"volume of nothing": {func(c *drivers.Configuration) { c.Volumes = []drivers.Volume{{Name: "v"}} },
			drivers.ErrInvalidArgument, "one of emptyDir, files, disk, hostPath and image"},
		"file that climbs": {func(c *drivers.Configuration) {
			c.Volumes = []drivers.Volume{{Name: "v", Files: &drivers.FilesVolume{Files: []drivers.File{{Path: "../x"}}}}}
		}, drivers.ErrInvalidArgument, `"../x"`},
		"kernel is gone": {func(c *drivers.Configuration) { c.Kernel.Image = "/nowhere/vmlinuz" }, drivers.ErrUnavailable, "vzctl kernel install"},
		"image is gone":  {container(func(c *drivers.Container) { c.Rootfs = "/nowhere/root" }), drivers.ErrUnavailable, "pull its image again"},
		"kernel is a directory": {func(c *drivers.Configuration) { c.Kernel.Image = "/" },
			drivers.ErrUnavailable, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			rt := newFake(&fakeHypervisor{startErr: errors.New("a machine was started")}, Options{})
			err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: bundle(t, []string{"sleep"}, tc.edit)})
			wantError(t, err, tc.kind, tc.want)
			wantState(t, rt, drivers.StateStopped)
		})
	}
}

func TestBundleThatIsNoBundle(t *testing.T) {
	dir := t.TempDir()
	_, err := readConfiguration(dir)
	wantError(t, err, drivers.ErrNotFound, dir)
	if err := os.WriteFile(filepath.Join(dir, drivers.ConfigurationFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readConfiguration(dir); err == nil || !strings.Contains(err.Error(), drivers.ConfigurationFile) {
		t.Errorf("error %v", err)
	}
}

func TestHypervisorThatDoesNotStartIsReported(t *testing.T) {
	rt := newFake(&fakeHypervisor{startErr: drivers.ErrExhausted}, Options{})
	err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: bundle(t, []string{"sleep"}, nil)})
	wantError(t, err, drivers.ErrExhausted, "start the virtual machine")
}
