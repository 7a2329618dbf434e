package plugins_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// The test binary plays other programs too, by the role in its environment.
const (
	envRole    = "VZ_TEST_ROLE"
	roleDaemon = "daemon" // launches a plugin and waits to be killed
	// Plugins with quirks.
	roleUnused  = "unused"  // waits for a Bootstrap for a moment only
	rolePrinter = "printer" // prints a lot on stdout and stderr
	roleBroken  = "broken"  // says why and dies
	roleSilent  = "silent"  // never says that it serves
	roleUnable  = "unable"  // finds the host lacking
	roleParent  = "parent"  // has a child process
	roleOld     = "old"     // speaks protocol 1 only, and claims more
)

func TestMain(m *testing.M) {
	noFaults := fake.Faults{}
	switch os.Getenv(envRole) {
	case "":
		code := m.Run()
		if dir := builtFake.dir; dir != "" {
			_ = os.RemoveAll(dir)
		}
		os.Exit(code)
	case roleDaemon:
		playDaemon()
	case roleUnused:
		serveFake(noFaults, plugins.ServeOptions{UnusedTimeout: time.Second})
	case rolePrinter:
		plugins.Serve(func(*slog.Logger) drivers.Runtime { return printer{fake.New(fake.Options{})} }, plugins.ServeOptions{})
	case roleBroken:
		fmt.Fprintln(os.Stderr, "libgone.so.1: cannot open shared object file")
		os.Exit(3)
	case roleSilent:
		select {}
	case roleUnable:
		serveFake(fake.Faults{ProbeError: "install qemu-system-x86"}, plugins.ServeOptions{})
	case roleOld:
		plugins.ServeProtocol1(func(*slog.Logger) drivers.Runtime { return boaster{fake.New(fake.Options{Version: "test"})} })
	case roleParent:
		_ = exec.CommandContext(context.Background(), "sleep", "600").Start()
		serveFake(noFaults, plugins.ServeOptions{})
	}
}

func serveFake(f fake.Faults, opts plugins.ServeOptions) {
	plugins.Serve(func(log *slog.Logger) drivers.Runtime {
		return fake.New(fake.Options{Faults: f, Log: log, Version: "test"})
	}, opts)
}

// boaster names capabilities that its protocol has no routes for.
type boaster struct{ *fake.Runtime }

func (b boaster) Info(ctx context.Context) (drivers.Info, error) {
	info, err := b.Runtime.Info(ctx)
	info.Capabilities = []string{
		drivers.CapabilityAttach, drivers.CapabilityCopy, drivers.CapabilityDial,
		drivers.CapabilityExec, drivers.CapabilityPause, drivers.CapabilityStatistics,
	}
	return info, err
}

// printer is a runtime that is talkative where it should not be.
type printer struct{ *fake.Runtime }

func (p printer) State(ctx context.Context) (drivers.Snapshot, error) {
	line := strings.Repeat("x", 1000)
	for range 300 {
		fmt.Fprintln(os.Stdout, line)
		fmt.Fprintln(os.Stderr, line)
	}
	return p.Runtime.State(ctx)
}

// playDaemon launches the fake plugin for a bundle, runs its sandbox and says so.
func playDaemon() {
	bundle, dir, sockets := os.Args[1], os.Args[2], os.Args[3]
	err := func() error {
		ctx := context.Background()
		p, err := plugins.NewLoader([]string{dir}).Find(plugins.KindRuntime, "fake")
		if err != nil {
			return err
		}
		inst, err := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: sockets}).Launch(ctx, p, bundle)
		if err != nil {
			return err
		}
		if err := inst.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: bundle}); err != nil {
			return err
		}
		return inst.StartProcess(ctx, "main")
	}()
	if err != nil {
		fmt.Fprintln(os.Stdout, "failed:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, "ready")
	select {}
}

// builtFake is a directory of plugins with the fake in it, built once.
var builtFake struct {
	once sync.Once
	dir  string
	err  error
}

func pluginDir(t *testing.T) string {
	t.Helper()
	b := &builtFake
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "plugins"); b.err != nil { //nolint:usetesting // shared by all tests
			return
		}
		dir := filepath.Join(b.dir, "runtime-fake")
		cmd := exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(dir, "bin", "runtime-fake"), "./runtime-fake")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("%w: %s", err, out)
			return
		}
		var manifest []byte
		if manifest, b.err = os.ReadFile("runtime-fake/plugin.yaml"); b.err == nil {
			b.err = os.WriteFile(filepath.Join(dir, plugins.ManifestFile), manifest, 0o600)
		}
	})
	if b.err != nil {
		t.Fatalf("build the fake plugin: %v", b.err)
	}
	return b.dir
}

func fakePlugin(t *testing.T) *plugins.Plugin {
	t.Helper()
	p, err := plugins.NewLoader([]string{pluginDir(t)}).Find(plugins.KindRuntime, "fake")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rolePlugin is this test binary as a plugin, and a launcher that gives it its role.
func rolePlugin(t *testing.T, role string) (*plugins.Plugin, *plugins.Launcher) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	writeManifest(t, filepath.Join(root, "runtime-quirk"),
		"{kind: runtime, name: quirk, version: '1', protocolVersions: [1, 2], command: "+exe+"}")
	p, err := plugins.NewLoader([]string{root}).Find(plugins.KindRuntime, "quirk")
	if err != nil {
		t.Fatal(err)
	}
	return p, plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t), Env: []string{envRole + "=" + role}})
}

func writeManifest(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, plugins.ManifestFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// socketDir returns a short directory that is to be empty at the end of the test.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vzp") //nolint:usetesting // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left behind in the socket directory: %v", left)
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// newBundle returns the directory of a sandbox with one container, "main".
func newBundle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), drivers.Configuration{
		Version:    drivers.ConfigurationVersion,
		ID:         "default/test",
		Containers: []drivers.Container{{Name: "main", Process: drivers.ProcessSpec{Args: []string{"server"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// launch launches a plugin that ends with the test.
func launch(t *testing.T, l *plugins.Launcher, p *plugins.Plugin, bundle string) *plugins.Instance {
	t.Helper()
	inst, err := l.Launch(t.Context(), p, bundle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inst.End(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return inst
}

// run boots the sandbox and starts its container.
func run(t *testing.T, inst *plugins.Instance, bundle string) {
	t.Helper()
	if err := inst.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: bundle}); err != nil {
		t.Fatal(err)
	}
	if err := inst.StartProcess(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
}

// closes fails the test if the channel does not close in time.
func closes(t *testing.T, ch <-chan struct{}, within time.Duration, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(within):
		t.Fatalf("%s: not within %s", what, within)
	}
}
