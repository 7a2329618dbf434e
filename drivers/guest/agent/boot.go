//go:build linux

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// executable is the agent's own, which the initramfs has there.
const executable = "/init"

// Main runs the guest until it is powered off; it does not return. A panic, or
// an error that leaves no way to serve, ends PID 1, upon which the kernel stops
// the machine: the host sees it gone and finds the cause on the console.
func Main() {
	// Memory belongs to the containers. The limit is soft: it only makes the
	// collector work harder.
	debug.SetMemoryLimit(48 << 20)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := serveGuest(context.Background(), log)
	log.Error("the agent cannot go on", "error", err)
	os.Exit(1)
}

func serveGuest(ctx context.Context, log *slog.Logger) error {
	if err := mountKernelFiles(); err != nil {
		return err
	}
	// Whatever the command line says: a guest without its agent is of no use.
	_ = os.WriteFile("/proc/sys/kernel/panic", []byte("-1"), 0)
	modules, err := readModuleList()
	if err != nil {
		return err
	}
	if err := modules.load(whenChannel); err != nil {
		return err
	}
	if err := openConsole(); err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	host, err := openChannel(ctx, channelKind(string(cmdline)))
	if err != nil {
		return fmt.Errorf("open the channel to the host: %w", err)
	}
	g := newGuest(log, modules)
	// The host needs a moment for its handshake: use it.
	go g.prepare()
	return newServer(g).serve(ctx, host)
}

// mountKernelFiles makes the kernel's own file systems visible.
func mountKernelFiles() error {
	// The kernel's first file system cannot be left by pivot_root. A bind mount
	// of it can, so that containers have no trace of it.
	if err := unix.Mount("/", "/mnt", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the root file system: %w", err)
	}
	if err := unix.Chdir("/mnt"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root file system: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	// Containers see the file that their init process began as: /proc/PID/exe.
	if err := unix.Mount(executable, executable, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", executable, err)
	}
	if err := unix.Mount("", executable, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", executable, err)
	}
	for _, m := range []struct {
		fstype, target string
		flags          uintptr
	}{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", unix.MS_NOSUID | unix.MS_NOEXEC},
	} {
		if err := unix.Mount(m.fstype, m.target, m.fstype, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	// Children inherit it. The package is told by syscall.Setrlimit, and by that
	// alone, not to bring back the limit it found.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1024, Max: 512 << 10}); err != nil {
		return fmt.Errorf("set the limit of open files: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}); err != nil {
		return fmt.Errorf("set the limit of core files: %w", err)
	}
	// A process forked into a container shares this memory until it executes.
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// openConsole gives this process the console that was not there yet when it began,
// as one is whose driver is a module. See package initramfs.
func openConsole() error {
	var st unix.Stat_t
	if err := unix.Fstat(unix.Stderr, &st); err != nil {
		return fmt.Errorf("the standard error: %w", err)
	}
	if st.Rdev != unix.Mkdev(1, 3) {
		return nil // not /dev/null, so a console
	}
	console, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // a machine without one does too
	}
	defer unix.Close(console)
	for fd := range 3 {
		if err := unix.Dup3(console, fd, 0); err != nil {
			return fmt.Errorf("open the console: %w", err)
		}
	}
	return nil
}

// channelKind reads "vzr.channel=" from the kernel's command line.
func channelKind(cmdline string) string {
	for word := range strings.FieldsSeq(cmdline) {
		if kind, ok := strings.CutPrefix(word, "vzr.channel="); ok {
			return kind
		}
	}
	return channelVirtio
}

// loopbackUp gives the guest its 127.0.0.1 and ::1: the kernel adds them when
// the interface comes up.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	return nil
}
