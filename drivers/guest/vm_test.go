//go:build linux

package guest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers/guest/channel"
	"github.com/vzreconciler/vzreconciler/drivers/guest/initramfs"
	"github.com/vzreconciler/vzreconciler/internal/debpkg"
)

// vm is a machine of QEMU's that boots the agent: a small one, without a
// hypervisor driver between, so that what is tested here is the guest alone.
type vm struct {
	*channel.Client
	dir     string
	qemu    *exec.Cmd
	exited  chan struct{}
	console string
}

// disk is a disk of a vm.
type disk struct {
	serial, path string
	readOnly     bool
}

// kernelFiles are unpacked from a kernel package.
type kernelFiles struct{ image, modules string }

// unpackKernel takes the kernel and the modules that a guest may want from the
// package that `make setup` fetches. They stay in .cache for the next time.
func unpackKernel(t *testing.T) kernelFiles {
	t.Helper()
	deb := os.Getenv("VZ_TEST_KERNEL_DEB")
	if deb == "" {
		found, err := filepath.Glob("../../.cache/debs/linux-image-*.deb")
		if err != nil || len(found) == 0 {
			t.Fatalf("no kernel package in .cache/debs (%v): run `make setup`, or name one in VZ_TEST_KERNEL_DEB", err)
		}
		deb = found[len(found)-1]
	}
	// The number is that of the choice in unpackOne.
	dir := filepath.Join("../../.cache/guest-test", filepath.Base(deb)+"-2")
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		half, err := os.MkdirTemp(filepath.Dir(dir), "half-") //nolint:usetesting // to be renamed
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(half)
		if err := debpkg.WalkFile(deb, func(hdr *tar.Header, content io.Reader) error { return unpackOne(half, hdr, content) }); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(half, dir); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	return kernelFiles{image: one(t, dir, "boot/vmlinuz-*"), modules: one(t, dir, "lib/modules/*")}
}

func unpackOne(dir string, hdr *tar.Header, content io.Reader) error {
	name := hdr.Name
	wanted := strings.HasPrefix(name, "boot/vmlinuz-") || strings.HasSuffix(name, "/modules.builtin") ||
		strings.Contains(name, "virtio") || strings.Contains(name, "failover") || strings.Contains(name, "/overlayfs/")
	if hdr.Typeflag != tar.TypeReg || !wanted {
		return nil
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, content)
	return err
}

func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %q, %v; remove that directory and try again", pattern, dir, found, err)
	}
	return found[0]
}

// buildAgent builds the agent as `make build` does. (Without the tag, gRPC links
// a web interface for traces, with packages whose start takes an emulated guest
// a tenth of a second.)
func buildAgent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", path, "./agent/cmd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	return path
}

// rootfs makes the disk of an image out of busybox and what prepare puts there.
func rootfs(t *testing.T, prepare func(dir string)) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("busybox-static is missing: run `make setup`: %v", err)
	}
	dir := t.TempDir()
	for _, d := range []string{"bin", "etc", "root", "tmp", "proc", "sys", "dev", "home/user"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "bin/busybox"), string(data), 0o755)
	applets, err := exec.CommandContext(t.Context(), busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(applets)) {
		if name != "busybox" {
			link(t, "busybox", filepath.Join(dir, "bin", name))
		}
	}
	write(t, filepath.Join(dir, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n", 0o644)
	write(t, filepath.Join(dir, "etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n", 0o644)
	prepare(dir)
	image := filepath.Join(t.TempDir(), "rootfs.img")
	mkfs(t, image, 24<<20, "-d", dir)
	return image
}

func mkfs(t *testing.T, image string, size int64, args ...string) {
	t.Helper()
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-q", "-t", "ext4", "-F"}, append(args, image)...)
	if out, err := exec.CommandContext(t.Context(), "/sbin/mke2fs", args...).CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
}

// fsck fails the test unless the disk was left clean.
func fsck(t *testing.T, image string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "/sbin/e2fsck", "-fn", image).CombinedOutput()
	if err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	state, err := exec.CommandContext(t.Context(), "/sbin/dumpe2fs", "-h", image).CombinedOutput()
	if err != nil || !bytes.Contains(state, []byte("Filesystem state:         clean")) || bytes.Contains(state, []byte("needs_recovery")) {
		t.Errorf("the file system is not clean: %v\n%s", err, state)
	}
}

// boot starts a machine and connects to its agent.
func boot(t *testing.T, k kernelFiles, agent string, disks ...disk) *vm {
	t.Helper()
	initrd, err := initramfs.Cached(filepath.Join(filepath.Dir(agent), "cache"), initramfs.Options{
		Agent: agent, ModulesDir: k.modules, Modules: []string{"virtio_pci", "virtio_console"},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: a socket's path must be short.
	dir, err := os.MkdirTemp("", "vzr") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &vm{dir: dir, console: filepath.Join(dir, "console"), exited: make(chan struct{})}
	socket := filepath.Join(dir, "agent")
	args := []string{
		"-machine", "q35", "-accel", "tcg,tb-size=32", "-cpu", "max", "-m", "160", "-smp", "1",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", k.image, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 reboot=t random.trust_cpu=on tsc=reliable no_timer_check cryptomgr.notests",
		"-serial", "file:" + v.console,
		"-device", "virtio-serial-pci,max_ports=4",
		"-chardev", "socket,id=ch0,path=" + socket + ",server=on,wait=off",
		"-device", "virtserialport,chardev=ch0,name=agent,nr=1",
	}
	for i, d := range disks {
		args = append(args,
			"-drive", fmt.Sprintf("if=none,id=d%d,format=raw,file=%s,readonly=%s", i, d.path, map[bool]string{true: "on", false: "off"}[d.readOnly]),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=d%d,serial=%s", i, d.serial))
	}
	v.qemu = exec.Command("qemu-system-x86_64", args...) //nolint:noctx // the clean-up below ends it, after the last test
	// Nor must it outlive a test that is killed, which cleans nothing up.
	v.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	v.qemu.Stderr = &stderr
	start := time.Now()
	if err := v.qemu.Start(); err != nil {
		t.Fatalf("start QEMU, which `make setup` installs: %v", err)
	}
	go func() {
		defer close(v.exited)
		_ = v.qemu.Wait()
	}()
	t.Cleanup(func() {
		_ = v.qemu.Process.Kill()
		<-v.exited
		if t.Failed() {
			console, _ := os.ReadFile(v.console)
			t.Logf("QEMU: %s\nconsole:\n%s", stderr.String(), console)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	v.Client, err = channel.Connect(ctx, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("QEMU started → agent answers: %v", time.Since(start).Round(time.Millisecond))
	t.Cleanup(func() { v.Close() })
	return v
}

// awaitExit waits until the machine has switched itself off.
func (v *vm) awaitExit(t *testing.T) {
	t.Helper()
	select {
	case <-v.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("the machine is still on")
	}
}

func write(t *testing.T, path, data string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
