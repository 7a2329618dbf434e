package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/plugins/conformance"
)

// TestQEMUKeepsToTheContract runs the whole runtime contract on the built plugin,
// a real VM for each sentence of it.
func TestQEMUKeepsToTheContract(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(seeded(t), "state")
	kernel, err := kernels.Open(filepath.Join(dir, "kernels")).Get("")
	if err != nil {
		t.Fatal(err)
	}
	store, err := images.Open(t.TempDir(), images.Options{})
	if err != nil {
		t.Fatal(err)
	}
	image, err := store.Ensure(t.Context(), "docker-archive:"+busyboxArchive, images.EnsureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plugins.NewLoader([]string{filepath.Join(repo(t), "bin", "plugins")}).Find(plugins.KindRuntime, "qemu")
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("/tmp", "vzc") //nolint:usetesting // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(sockets); err != nil || len(left) > 0 {
			t.Errorf("left behind in the socket directory: %v, %v", left, err)
		}
		_ = os.RemoveAll(sockets)
	})
	launcher := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: sockets})
	configuration := drivers.Configuration{
		Version: drivers.ConfigurationVersion, ID: "default/conformance", Hostname: "conformance",
		CPUs: 1, MemoryBytes: 256 << 20, DiskBytes: 1 << 30,
		Kernel:   drivers.Kernel{Image: kernel.Image, VMLinux: kernel.VMLinux, ModulesDir: kernel.ModulesDir},
		Agent:    bin(t, filepath.Join("guest", runtime.GOARCH, "agent")),
		CacheDir: filepath.Join(dir, "cache"), SocketDir: sockets,
		Containers: []drivers.Container{{Name: "main", Rootfs: image.Rootfs}},
	}
	opts := conformance.OfPlugin(conformance.PluginOptions{Plugin: p, Launcher: launcher, Configuration: configuration})
	report := &conformance.Report{Subject: "qemu"}
	opts.Run = report.Record(func(name string, check func(conformance.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t)
		})
	})
	t.Cleanup(func() { writeReport(t, report) })
	conformance.Run(opts)
}

// writeReport puts a report into the test's output and, if asked to, into files.
func writeReport(t *testing.T, r *conformance.Report) {
	t.Helper()
	if err := r.WriteFiles(os.Getenv(conformance.ReportEnv)); err != nil {
		t.Error(err)
	}
	var text strings.Builder
	_ = r.WriteText(&text)
	t.Logf("%s", text.String())
}
