package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/plugins/conformance"
)

func TestFakeAsPluginKeepsToTheContract(t *testing.T) {
	p := buildFake(t)
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
	opts := conformance.OfPlugin(conformance.PluginOptions{Plugin: p, Launcher: launcher})
	opts.Run = reported(t, "fake as a plugin").Record(parallel(t))
	conformance.Run(opts)
}

// buildFake installs the fake plugin in a directory of plugins and loads it.
func buildFake(t *testing.T) *plugins.Plugin {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "runtime-fake")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "bin", "runtime-fake"), "../runtime-fake")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the fake plugin: %v\n%s", err, out)
	}
	manifest, err := os.ReadFile("../runtime-fake/plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, plugins.ManifestFile), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := plugins.NewLoader([]string{root}).Find(plugins.KindRuntime, "fake")
	if err != nil {
		t.Fatal(err)
	}
	return p
}
