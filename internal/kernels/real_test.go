//go:build !race

// The race detector makes decompressing a real package take a minute.

package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// debianKernel is the kernel package that the project is set up with.
func debianKernel(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("../../.cache/debs/linux-image-*.deb")
	if err != nil || len(found) == 0 {
		t.Fatal(`no kernel package in .cache/debs: run "make setup"`)
	}
	return found[len(found)-1]
}

func TestDebianKernelInstalls(t *testing.T) {
	s := Open(t.TempDir())
	k, err := s.Install(t.Context(), InstallOptions{Deb: debianKernel(t), Progress: func(step string) { t.Log(step) }})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(k.Version, "cloud") || k.VMLinux == "" {
		t.Errorf("got %+v", k)
	}
	list := strings.Join(files(t, k.ModulesDir), "\n") + "\n"
	for _, name := range []string{
		"virtio_pci", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_ring", "virtio_console", "virtio_blk", "virtio_mmio",
		"virtio_net", "net_failover", "failover", "overlay", "fuse", "virtiofs", "virtio-rng", "virtio_balloon",
	} {
		if !strings.Contains(list, "/"+name+".ko\n") {
			t.Errorf("module %s is missing", name)
		}
	}
	var size int64
	for _, f := range files(t, filepath.Dir(k.Image)) {
		fi, err := os.Stat(filepath.Join(filepath.Dir(k.Image), f))
		if err != nil {
			t.Fatal(err)
		}
		size += fi.Size()
	}
	t.Logf("kernel %s takes %d MiB", k.Version, size>>20)
}
