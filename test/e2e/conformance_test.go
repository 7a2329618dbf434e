package e2e

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

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
	keepsToTheContract(t, "plugins", "qemu", "qemu", regexp.MustCompile(""))
}

// lookalikeChecksEnv holds a regular expression of the checks to run on the
// look-alike; without it there are those that take it through a machine's life, and
// large data over its vsock.
const lookalikeChecksEnv = "VZ_LOOKALIKE_CHECKS"

// TestVZDriverKeepsToTheContractOnTheLookAlike boots real guests through the
// driver for Apple's framework, with QEMU in the framework's place: see
// drivers/vz/doc.go. It says nothing of a Mac.
func TestVZDriverKeepsToTheContractOnTheLookAlike(t *testing.T) {
	t.Parallel()
	checks := cmp.Or(os.Getenv(lookalikeChecksEnv),
		"^(BootstrapFailureEndsStopped|ExitCodeReachesEveryWaiter|ExecCarriesStdioUnchanged|DialCarriesBothDirectionsAndHalfClose|"+
			"CopyCarriesTreesUnchanged|StopLetsInitEndInGrace|PauseAndResume|KilledRuntimeEndsEveryCall)$")
	keepsToTheContract(t, "lookalike", "vz", "vz-lookalike", regexp.MustCompile(checks))
}

// TestVZDriverSavesAndRestoresOnTheLookAlike does so where the agent has a
// virtio-serial port: QEMU saves no machine with a vsock like the look-alike's.
func TestVZDriverSavesAndRestoresOnTheLookAlike(t *testing.T) {
	t.Parallel()
	checks := "^RestoredSandboxGoesOnWhereItWas$"
	if os.Getenv(lookalikeChecksEnv) != "" {
		checks = "^(SavedSandboxGoesOn|RestoredSandboxGoesOnWhereItWas|DamagedStateIsNotRestored)$"
	}
	keepsToTheContract(t, "lookalike-saving", "vz", "vz-lookalike-saving", regexp.MustCompile(checks))
}

// keepsToTheContract holds a plugin below bin against the contract, or the checks
// of it whose names match.
func keepsToTheContract(t *testing.T, dir, name, subject string, checks *regexp.Regexp) {
	opts := conformance.OfPlugin(pluginUnderTest(t, dir, name))
	opts.Timeout = 5 * time.Minute // under emulation, on a busy host
	report := &conformance.Report{Subject: subject}
	run := report.Record(func(name string, check func(conformance.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t)
		})
	})
	opts.Run = func(name string, check func(conformance.T)) {
		if checks.MatchString(name) {
			run(name, check)
		}
	}
	t.Cleanup(func() { writeReport(t, report) })
	conformance.Run(opts)
}

// pluginUnderTest returns a plugin below bin and what its sandboxes are made from.
func pluginUnderTest(t *testing.T, dir, name string) conformance.PluginOptions {
	t.Helper()
	p, err := plugins.NewLoader([]string{filepath.Join(repo(t), "bin", dir)}).Find(plugins.KindRuntime, name)
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(seeded(t), "state")
	kernel, err := kernels.Open(filepath.Join(state, "kernels")).Get("")
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
	return conformance.PluginOptions{
		Plugin:   p,
		Launcher: plugins.NewLauncher(plugins.LauncherOptions{SocketDir: sockets}),
		Configuration: drivers.Configuration{
			Version: drivers.ConfigurationVersion, ID: "default/conformance", Hostname: "conformance",
			CPUs: 1, MemoryBytes: 256 << 20, DiskBytes: 1 << 30,
			Kernel:   drivers.Kernel{Image: kernel.Image, VMLinux: kernel.VMLinux, ModulesDir: kernel.ModulesDir},
			Agent:    bin(t, filepath.Join("guest", runtime.GOARCH, "agent")),
			CacheDir: filepath.Join(state, "cache"), SocketDir: sockets,
			Containers: []drivers.Container{{Name: "main", Rootfs: image.Rootfs}},
		},
	}
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
