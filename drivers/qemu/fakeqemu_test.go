package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

// PlayQEMU makes the test binary play QEMU: it speaks QMP, and does what the
// name of its initrd says:
//
//	refuse    prints an error and exits before it says anything
//	nomem     so, for want of memory
//	mute      says nothing, for ever
//	silent    runs and prints nothing on the console
//	chatty    runs and prints a line there
//	crash     prints an error and exits once it runs
//	poweroff  tells that the guest powered off, and exits
//	panic     tells that the guest reset itself, and exits
//	full      fails to save, for want of space
//	stuck     saves until it is told not to
//	starved   finds no space for a write, until it is told to go on
//	unfit     prints an error and exits when it is to load a saved state
func PlayQEMU(args []string) {
	role := filepath.Base(args[slices.Index(args, "-initrd")+1])
	fail := func(text string) {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+": warning: this is no QEMU")
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+": "+text)
		os.Exit(1)
	}
	switch role {
	case "refuse":
		fail("-drive: could not open disk image")
	case "nomem":
		fail("cannot set up guest memory 'pc.ram': Cannot allocate memory")
	case "mute":
		select {}
	}
	monitor, console := accept(MonitorFD), accept(ConsoleFD)
	fmt.Fprintln(monitor, `{"QMP": {"version": {"qemu": {"major": 9, "minor": 1, "micro": 2}}}}`)
	requests := bufio.NewScanner(monitor)
	saving := &fakeMigration{role: role}
	for requests.Scan() {
		var r struct {
			Execute string `json:"execute"`
			ID      uint64 `json:"id"`
		}
		if err := json.Unmarshal(requests.Bytes(), &r); err != nil {
			fail(err.Error())
		}
		if r.Execute == "migrate-incoming" && role == "unfit" {
			fail("load of migration failed: Invalid argument")
		}
		fmt.Fprintf(monitor, "{\"return\": %s, \"id\": %d}\n", saving.answer(r.Execute), r.ID)
		shutdown := `{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-%s"}}` + "\n"
		switch role {
		case "starved":
			if r.Execute == "qmp_capabilities" {
				saving.runState = runStateIOError
				fmt.Fprintln(monitor, `{"event": "BLOCK_IO_ERROR", "data": {"action": "stop", "nospace": true, "node-name": "disk0"}}`)
			}
		case "chatty":
			fmt.Fprintln(console, "Linux version")
		case "crash":
			fail("kvm.c:3183: assertion failed")
		case "poweroff":
			fmt.Fprintf(monitor, shutdown, "shutdown")
			os.Exit(0)
		case "panic":
			fmt.Fprintf(monitor, shutdown, "reset")
			os.Exit(0)
		}
	}
}

// fakeMigration is what a fake QEMU says of migrations.
type fakeMigration struct {
	role, status, runState string
}

func (m *fakeMigration) answer(command string) string {
	switch command {
	case "migrate", "migrate-incoming":
		switch m.role {
		case "full":
			m.status = "failed"
		case "stuck":
			m.status = "active"
		default:
			m.status = "completed"
			if command == "migrate" {
				m.runState = "postmigrate"
			}
		}
	case "migrate_cancel":
		m.status = "cancelled"
	case "stop", "cont":
		m.runState = command
	case "query-migrate":
		if m.status == "failed" {
			return `{"status": "failed", "error-desc": "Unable to write to file: No space left on device"}`
		}
		return fmt.Sprintf(`{"status": %q}`, m.status)
	case "query-status":
		return fmt.Sprintf(`{"status": %q}`, m.runState)
	}
	return "{}"
}

// accept waits for the connection to a socket that was inherited.
func accept(fd uintptr) net.Conn {
	l, err := net.FileListener(os.NewFile(fd, "socket"))
	if err != nil {
		panic(err)
	}
	conn, err := l.Accept()
	if err != nil {
		panic(err)
	}
	return conn
}

// fake returns a Hypervisor whose QEMU is this test binary, and what to start a
// machine with in which it plays the role.
func fake(t *testing.T, role string) (*Hypervisor, linuxvm.MachineConfig) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := New(Options{Binary: exe})
	h.patience = patience{agent: 5 * time.Second, silence: 2 * time.Second, space: 10 * time.Millisecond}
	// A device that opens, as good as any.
	h.host = host{os: "linux", arch: "amd64", device: os.DevNull}
	dir, err := os.MkdirTemp("", "vzf") //nolint:usetesting // a test's own directory has too long a name for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	kernel := filepath.Join(dir, "vmlinuz")
	if err := os.WriteFile(kernel, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return h, linuxvm.MachineConfig{
		ID: "default/web", CPUs: 1, MemoryBytes: 128 << 20,
		Kernel: drivers.Kernel{Image: kernel}, Initrd: role,
		SocketDir: filepath.Join(dir, "s"), CacheDir: filepath.Join(dir, "c"),
		RuntimeData: []byte(`{"acceleration":"tcg"}`),
	}
}

func TestMachineTellsWhyItEnded(t *testing.T) {
	for role, want := range map[string]string{
		"crash":    "kvm.c:3183: assertion failed",
		"poweroff": "",
		"panic":    "the guest's kernel panicked or restarted itself: the end of its console log tells why",
	} {
		t.Run(role, func(t *testing.T) {
			h, cfg := fake(t, role)
			m, err := h.Start(t.Context(), cfg)
			if err != nil {
				// It may be gone before Start has seen it run.
				if role == "crash" && strings.Contains(err.Error(), want) {
					return
				}
				t.Fatal(err)
			}
			<-m.Exited()
			if got := m.ExitReason(); got != want && (want == "" || !strings.HasSuffix(got, ": "+want)) {
				t.Errorf("reason %q, want %q", got, want)
			}
			if _, err := m.DialAgent(t.Context()); err == nil {
				t.Error("a machine that is gone can be dialled")
			}
			if err := m.Kill(t.Context()); err != nil {
				t.Errorf("kill of a machine that is gone: %v", err)
			}
			if left, _ := os.ReadDir(cfg.SocketDir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestKilledMachineHasNoReason(t *testing.T) {
	h, cfg := fake(t, "silent")
	m, err := h.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if d := m.Describe(); d.Hypervisor != "qemu 9.1.2" || d.Type != "q35" || d.Accelerator != "tcg" || d.PID == 0 || d.StartTime == 0 {
		t.Errorf("description %+v", d)
	}
	if err := m.Pause(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.Resume(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.ExitReason(); got != "" {
		t.Errorf("reason %q", got)
	}
	if err := m.Pause(t.Context()); err == nil {
		t.Error("a machine that is gone was paused")
	}
}

func TestQEMUThatDoesNotStartTellsWhy(t *testing.T) {
	h, cfg := fake(t, "refuse")
	if _, err := h.Start(t.Context(), cfg); err == nil || !strings.HasSuffix(err.Error(), "could not open disk image") {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(cfg.SocketDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProofFails(t *testing.T) {
	for role, want := range map[string]string{
		"silent":   "it printed nothing within 2s",
		"chatty":   "its agent did not answer within 5s",
		"crash":    "assertion failed",
		"refuse":   "could not open disk image",
		"poweroff": "the virtual machine ended: the guest powered off",
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			h, cfg := fake(t, role)
			cfg.RuntimeData = nil
			v, err := h.accelerator(t.Context(), h.binary, cfg, runtimeData{Acceleration: accelAuto, Machine: "q35"})
			if err != nil {
				t.Fatal(err)
			}
			if v.Accelerator != accelTCG || !strings.HasPrefix(v.Reason, "kvm does not boot this kernel: ") || !strings.Contains(v.Reason, want) {
				t.Errorf("verdict %q, want tcg because %q", v, want)
			}
			if left, _ := os.ReadDir(cfg.SocketDir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestNestedVirtualizationNeedsKVM(t *testing.T) {
	h, cfg := fake(t, "silent")
	cfg.NestedVirtualization = true
	if _, err := h.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "it needs KVM, and this machine would run on tcg") {
		t.Errorf("error %v", err)
	}
}

func TestMissingQEMUSaysWhatToInstall(t *testing.T) {
	h := New(Options{Binary: "qemu-system-nowhere"})
	err := h.Probe(t.Context())
	if err == nil || !strings.Contains(err.Error(), "apt install qemu-system-") {
		t.Errorf("error %v", err)
	}
}

func TestTooLongASocketPathIsExplained(t *testing.T) {
	h, cfg := fake(t, "silent")
	cfg.SocketDir = "/tmp/" + strings.Repeat("x", 100)
	if _, err := h.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "use a shorter socket directory") {
		t.Errorf("error %v", err)
	}
}

func TestTailKeepsTheLastLineThatIsNoWarning(t *testing.T) {
	tl := &tail{max: 64}
	for range 100 {
		_, _ = tl.Write([]byte("noise noise noise\n"))
	}
	_, _ = tl.Write([]byte("qemu: it \x1b[1mbroke\nqemu: warning: odd\n\n"))
	if got := tl.lastLine(); got != "qemu: it [1mbroke" {
		t.Errorf("last line %q", got)
	}
	if len(tl.buf) > 64 {
		t.Errorf("%d bytes are kept", len(tl.buf))
	}
}
