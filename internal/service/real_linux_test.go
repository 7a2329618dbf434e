package service

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Variables by which this test's program is told to be something else.
const (
	envProgram = "VZ_SERVICE_TEST_PROGRAM" // the service; the value is a directory for its notes
	envInside  = "VZ_SERVICE_TEST_INSIDE"  // the test, under a systemd of its own
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envProgram); dir != "" {
		if err := program(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program is what the daemon is to a service manager: it starts a process that
// outlives it ("sandbox"), says that it is ready, and ends when it is told to.
func program(dir string) error {
	if len(os.Args) > 1 && os.Args[1] == "--wrong-flag" {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	sandbox := exec.CommandContext(context.WithoutCancel(ctx), "tail", "-f", "/dev/null")
	sandbox.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := sandbox.Start(); err != nil {
		return err
	}
	notes, err := os.OpenFile(filepath.Join(dir, "sandboxes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintln(notes, sandbox.Process.Pid)
	if err := notes.Close(); err != nil {
		return err
	}
	if sent, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil || !sent {
		return errors.Join(errors.New("nobody wants to know that this is ready"), err)
	}
	<-ctx.Done()
	return nil
}

// The whole life of a service under the real systemd, as a user's.
func TestUnderSystemd(t *testing.T) {
	if os.Getenv(envInside) == "" {
		outside(t)
		return
	}
	notes := t.TempDir()
	dir, err := UserUnitDir()
	if err != nil {
		t.Fatal(err)
	}
	m := &Systemd{Name: "vzreconciler", Dir: dir}
	eventually(t, "systemd to answer", func() bool { _, err := m.Status(t.Context()); return err == nil })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := Service{
		Description: "A test", Program: exe, Args: []string{"an argument", "100% $HOME"},
		Env: map[string]string{envProgram: notes, "ODD": `"$HOME" %h \`},
	}
	status := func(want State) Status {
		t.Helper()
		got, err := m.Status(t.Context())
		if err != nil || got.State != want {
			t.Fatalf("%+v, %v, want %s", got, err, want)
		}
		return got
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	status(NotInstalled)
	if change, err := m.Install(t.Context(), s); err != nil || change != Installed {
		t.Fatalf("%s, %v", change, err)
	}
	if got := status(Stopped); !got.AtLogin || got.File != m.file() {
		t.Errorf("after the installation: %+v", got)
	}
	must(m.Start(t.Context()))
	first := status(Running)
	if age := time.Since(first.Since); first.PID == 0 || age < -2*time.Second || age > time.Minute {
		t.Errorf("running: %+v", first)
	}
	checkProcess(t, first.PID, s)
	if change, err := m.Install(t.Context(), s); err != nil || change != Unchanged {
		t.Errorf("installed again: %s, %v", change, err)
	}
	if again := status(Running); again.PID != first.PID {
		t.Error("installing again restarted the service")
	}

	must(m.Restart(t.Context()))
	second := status(Running)
	if second.PID == first.PID {
		t.Error("a restart left the old process")
	}
	// One that is killed is started again, and what it had started runs on.
	must(syscall.Kill(second.PID, syscall.SIGKILL))
	eventually(t, "systemd to start it again", func() bool {
		got, err := m.Status(t.Context())
		return err == nil && got.State == Running && got.PID != 0 && got.PID != second.PID
	})
	sandboxesLive(t, notes, 3)
	must(m.Stop(t.Context()))
	status(Stopped)
	must(m.Restart(t.Context()))
	sandboxesLive(t, notes, 4)

	// One whose command line is wrong is not started over and over.
	wrong := s
	wrong.Args = []string{"--wrong-flag"}
	if change, err := m.Install(t.Context(), wrong); err != nil || change != Updated {
		t.Fatalf("%s, %v", change, err)
	}
	if err := m.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "journalctl --user -u vzreconciler") {
		t.Errorf("a service that cannot start was started: %v", err)
	}
	if got := status(Failed); got.Message != "it ended with exit code 2" {
		t.Errorf("failed: %+v", got)
	}
	if _, err := m.Install(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	must(m.Start(t.Context()))
	must(m.Uninstall(t.Context()))
	status(NotInstalled)
	sandboxesLive(t, notes, 5)
}

// outside runs this test again under a systemd of its own.
func outside(t *testing.T) {
	const systemd = "/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil || os.Getuid() != 0 {
		t.Skip("this needs " + systemd + ", and root for a namespace to run it in")
	}
	if err := exec.CommandContext(t.Context(), "unshare", "-m", "-p", "-f", "--mount-proc", "true").Run(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	groups := cgroups(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home, runtime := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child",
		"sh", "testdata/systemd.sh", strings.Join(groups, " "), exe, "-test.run=^TestUnderSystemd$", "-test.v")
	cmd.Env = append(os.Environ(), envInside+"=1", "HOME="+home, "XDG_RUNTIME_DIR="+runtime, "XDG_CONFIG_HOME="+home+"/.config")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestUnderSystemd")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// cgroups makes control groups in which systemd can make its own, one in each
// hierarchy that it uses.
func cgroups(t *testing.T) (groups []string) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(data)) {
		number, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		name, path, _ := strings.Cut(rest, ":")
		var mount string
		switch {
		case name == "name=systemd":
			mount = "/sys/fs/cgroup/systemd"
		case number == "0" && exists("/sys/fs/cgroup/unified"):
			mount = "/sys/fs/cgroup/unified"
		case number == "0":
			mount = "/sys/fs/cgroup"
		default:
			continue
		}
		// Of one name, as systemd takes the path in one for that in the other.
		group := filepath.Join(mount, path, fmt.Sprintf("vz-service-test-%d", os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil {
			t.Skipf("no control group to be had: %v", err)
		}
		groups = append(groups, group)
		t.Cleanup(func() { eventually(t, "the control group to be empty", func() bool { return removeGroup(group) }) })
	}
	if len(groups) == 0 {
		t.Skip("no control groups here")
	}
	return groups
}

// removeGroup removes a control group from the leaves up: they go one by one
// only, and only empty. It reports whether all are gone.
func removeGroup(group string) bool {
	var dirs []string
	_ = filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		_ = syscall.Rmdir(dir)
	}
	return !exists(group)
}

// checkProcess looks at how a process of the service was started.
func checkProcess(t *testing.T, pid int, s Service) {
	t.Helper()
	read := func(name string) []string {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	}
	if got, want := read("cmdline"), append([]string{s.Program}, s.Args...); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("its command line is %q, want %q", got, want)
	}
	env := map[string]string{}
	for _, e := range read("environ") {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	for name, want := range s.Env {
		if env[name] != want {
			t.Errorf("its variable %s is %q, want %q", name, env[name], want)
		}
	}
}

// sandboxesLive checks that each start of the service left one process, which
// lives still.
func sandboxesLive(t *testing.T, notes string, want int) {
	t.Helper()
	f, err := os.Open(filepath.Join(notes, "sandboxes"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("sandbox %d, process %d, did not outlive the service: %v", n, pid, err)
		}
	}
	if n != want {
		t.Errorf("the service was started %d times, want %d", n, want)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
