package qemu_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
	"github.com/vzreconciler/vzreconciler/internal/imagebuild"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// world is what the virtual machines of all tests here are made of. It is made
// by the first test that needs it.
type world struct {
	dir    string
	kernel kernels.Kernel
	agent  string
	rootfs string // of an OCI image with busybox
	cache  string
}

// ours and arm64 are the worlds of this host's architecture and of arm64.
var (
	ours  = shared{debs: "../../.cache/debs", goarch: runtime.GOARCH}
	arm64 = shared{debs: "../../.cache/debs-arm64", goarch: "arm64"}
)

// shared is a world, and the directory of packages that it is made from.
type shared struct {
	debs, goarch string

	once sync.Once
	world
	err error
}

// orphanRole makes the test binary play the process that owns a machine and is
// killed: see orphan_test.go.
const orphanRole = "VZ_TEST_ORPHAN_BUNDLE"

func TestMain(m *testing.M) {
	if bundle := os.Getenv(orphanRole); bundle != "" {
		playOrphan(bundle)
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "-name" {
		qemu.PlayQEMU(os.Args[1:])
		return
	}
	code := m.Run()
	os.RemoveAll(ours.dir)
	os.RemoveAll(arm64.dir)
	os.Exit(code)
}

func getWorld(t *testing.T) world {
	t.Helper()
	return ours.get(t)
}

func (s *shared) get(t *testing.T) world {
	t.Helper()
	s.once.Do(func() { s.world, s.err = s.make() })
	if s.err != nil {
		t.Fatalf("the parts of a virtual machine are missing, 'make setup' gets them: %v", s.err)
	}
	return s.world
}

func (s *shared) make() (world, error) {
	dir, err := os.MkdirTemp("", "vzq")
	if err != nil {
		return world{}, err
	}
	w := world{dir: dir, agent: filepath.Join(dir, "agent"), cache: filepath.Join(dir, "cache")}
	s.dir = dir // removed even after a failure
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()

	deb := os.Getenv("VZ_TEST_KERNEL_DEB")
	if deb == "" || s != &ours {
		debs, _ := filepath.Glob(filepath.Join(s.debs, "linux-image-*.deb"))
		if len(debs) == 0 {
			return w, fmt.Errorf("no kernel package in %s, and VZ_TEST_KERNEL_DEB is not set", s.debs)
		}
		deb = debs[0]
	}
	if err := state.MkdirAll(filepath.Join(dir, "kernels")); err != nil {
		return w, err
	}
	// The store could unpack it too, but takes a minute under the race detector.
	unpacked := filepath.Join(dir, "deb")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, unpacked).CombinedOutput(); err != nil {
		return w, fmt.Errorf("unpack %s: %w\n%s", deb, err, out)
	}
	image, _ := filepath.Glob(filepath.Join(unpacked, "boot/vmlinuz-*"))
	modules, _ := filepath.Glob(filepath.Join(unpacked, "lib/modules/*"))
	if len(image) != 1 || len(modules) != 1 {
		return w, fmt.Errorf("%s does not hold one kernel with its modules", deb)
	}
	w.kernel, err = kernels.Open(filepath.Join(dir, "kernels")).Install(ctx, kernels.InstallOptions{Image: image[0], Modules: modules[0]})
	if err != nil {
		return w, err
	}

	build := exec.CommandContext(ctx, "go", "build", "-o", w.agent, "../guest/agent/cmd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+s.goarch)
	if out, err := build.CombinedOutput(); err != nil {
		return w, fmt.Errorf("build the agent: %w\n%s", err, out)
	}

	w.rootfs, err = s.image(ctx)
	return w, err
}

// image returns the root filesystem of an OCI image of busybox.
func (s *shared) image(ctx context.Context) (string, error) {
	busybox, err := s.busybox(ctx)
	if err != nil {
		return "", err
	}
	img, err := imagebuild.Busybox(ctx, busybox)
	if err != nil {
		return "", err
	}
	archive := filepath.Join(s.dir, "busybox.tar")
	if err := imagebuild.WriteDockerArchive(archive, "localhost/busybox:latest", img); err != nil {
		return "", err
	}
	store, err := images.Open(filepath.Join(s.dir, "images"), images.Options{})
	if err != nil {
		return "", err
	}
	image, err := store.Ensure(ctx, "docker-archive:"+archive, images.EnsureOptions{Platform: "linux/" + s.goarch})
	if err != nil {
		return "", err
	}
	return image.Rootfs, nil
}

// busybox returns the path of a static one: the host's own, or that of a package.
func (s *shared) busybox(ctx context.Context) (string, error) {
	if s == &ours {
		return exec.LookPath("busybox")
	}
	debs, _ := filepath.Glob(filepath.Join(s.debs, "busybox-static_*.deb"))
	if len(debs) == 0 {
		return "", fmt.Errorf("no package busybox-static in %s", s.debs)
	}
	unpacked := filepath.Join(s.dir, "busybox")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], unpacked).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w\n%s", debs[0], err, out)
	}
	return filepath.Join(unpacked, "bin/busybox"), nil
}

// bundle writes a bundle for a sandbox whose container "web" runs a shell script.
func (w world) bundle(t *testing.T, id, script string, edit func(*drivers.Configuration)) string {
	t.Helper()
	dir := t.TempDir()
	sockets, err := os.MkdirTemp("", "vzs") //nolint:usetesting // a test's own directory has too long a name for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(sockets); len(left) > 0 {
			t.Errorf("a socket was left behind: %v", left)
		}
		os.RemoveAll(sockets)
	})
	c := drivers.Configuration{
		Version:     drivers.ConfigurationVersion,
		ID:          id,
		Hostname:    "web",
		CPUs:        1,
		MemoryBytes: 256 << 20,
		DiskBytes:   1 << 30,
		Kernel:      drivers.Kernel{Image: w.kernel.Image, VMLinux: w.kernel.VMLinux, ModulesDir: w.kernel.ModulesDir},
		Agent:       w.agent,
		CacheDir:    w.cache,
		SocketDir:   sockets,
		RuntimeData: json.RawMessage(`{"acceleration":"tcg"}`),
		Containers: []drivers.Container{{
			Name:    "web",
			Rootfs:  w.rootfs,
			Process: drivers.ProcessSpec{Args: []string{"/bin/sh", "-c", script}, Env: []drivers.EnvVar{{Name: "PATH", Value: "/bin"}}},
		}},
	}
	if edit != nil {
		edit(&c)
	}
	if err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), c); err != nil {
		t.Fatal(err)
	}
	return dir
}

// boot boots the bundle and starts its container; the sandbox ends with the test.
func boot(t *testing.T, dir string) drivers.Runtime {
	t.Helper()
	return bootOn(t, qemu.New(qemu.Options{}), dir)
}

func bootOn(t *testing.T, h linuxvm.Hypervisor, dir string) drivers.Runtime {
	t.Helper()
	rt := linuxvm.New(h, linuxvm.Options{})
	if err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), drivers.StopOptions{}); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := rt.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	if err := rt.StartProcess(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	return rt
}

func snapshot(t *testing.T, rt drivers.Runtime) drivers.Snapshot {
	t.Helper()
	s, err := rt.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// waitState waits until the sandbox is in a state.
func waitState(t *testing.T, rt drivers.Runtime, want drivers.State) drivers.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	events, err := rt.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var s drivers.Snapshot
	for s = range events {
		if s.State == want {
			return s
		}
	}
	t.Fatalf("the sandbox is %s (%s), want %s", s.State, s.Reason, want)
	return s
}
