package plugins_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func TestPluginOutlivesItsDaemon(t *testing.T) {
	bundle, sockets := newBundle(t), socketDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.CommandContext(t.Context(), exe, bundle, pluginDir(t), sockets)
	daemon.Env = append(os.Environ(), envRole+"="+roleDaemon)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the daemon says %q, %v", line, err)
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()

	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: sockets})
	inst, err := l.Reattach(t.Context(), bundle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inst.End(context.Background()) })
	if name, version := inst.Plugin(); name != "fake" || version != "0.1.0" {
		t.Errorf("reattached to plugin %s %s", name, version)
	}
	snap, err := inst.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := snap.Process("main"); snap.State != drivers.StateRunning || p.State != drivers.ProcessRunning {
		t.Fatalf("after the daemon's death: %+v", snap)
	}
	// It still has somewhere to log to, and lives on after it has.
	if err := inst.Stop(t.Context(), drivers.StopOptions{GracePeriod: time.Second}); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(bundle, drivers.LogsDir, plugins.PluginLog))
	if err != nil || !strings.Contains(string(log), "sandbox stopped") {
		t.Errorf("the plugin's log: %s, %v", log, err)
	}
	if err := inst.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	closes(t, inst.Done(), 5*time.Second, "the end of a plugin that was shut down")
}

func TestReleasedPluginCanBeReattached(t *testing.T) {
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	first := launch(t, l, fakePlugin(t), bundle)
	run(t, first, bundle)
	first.Release()
	// More than once, as daemons come and go.
	for range 3 {
		inst, err := l.Reattach(t.Context(), bundle)
		if err != nil {
			t.Fatal(err)
		}
		if inst.PID() != first.PID() {
			t.Errorf("pid %d, want %d", inst.PID(), first.PID())
		}
		if snap, err := inst.State(t.Context()); err != nil || snap.State != drivers.StateRunning {
			t.Errorf("state %s, %v", snap.State, err)
		}
		inst.Release()
	}
}

func TestDoneClosesWhenPluginDies(t *testing.T) {
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	launched := launch(t, l, fakePlugin(t), bundle)
	reattached, err := l.Reattach(t.Context(), bundle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reattached.Release)
	select {
	case <-launched.Done():
		t.Fatal("done before its end")
	case <-reattached.Done():
		t.Fatal("done before its end")
	default:
	}
	if err := syscall.Kill(launched.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	closes(t, launched.Done(), 2*time.Second, "Done of the launched one")
	closes(t, reattached.Done(), 2*time.Second, "Done of the reattached one")
	if _, err := reattached.State(t.Context()); err == nil {
		t.Error("a dead plugin answers")
	}
	if _, err := l.Reattach(t.Context(), bundle); !errors.Is(err, plugins.ErrNoInstance) {
		t.Errorf("reattach to a dead plugin: %v, want ErrNoInstance", err)
	}
}

func TestBundleHasOnePluginAtATime(t *testing.T) {
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	first := launch(t, l, fakePlugin(t), bundle)
	if _, err := l.Launch(t.Context(), fakePlugin(t), bundle); !errors.Is(err, plugins.ErrRunning) {
		t.Fatalf("second launch: %v, want ErrRunning", err)
	}
	if err := syscall.Kill(first.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	closes(t, first.Done(), 2*time.Second, "its end")
	// After a crash the next launch needs no help, and the first one's End, come
	// late, does it no harm.
	second := launch(t, l, fakePlugin(t), bundle)
	if err := first.End(t.Context()); err != nil {
		t.Error(err)
	}
	if again, err := l.Reattach(t.Context(), bundle); err != nil || again.PID() != second.PID() {
		t.Errorf("reattach after the late end: %v", err)
	} else {
		again.Release()
	}
}

func TestNoRecordOrABadOneIsNoInstance(t *testing.T) {
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	for name, content := range map[string]string{
		"none":          "",
		"half-written":  `{"version": 1, "proc`,
		"another age's": `{"version": 99, "process": {"pid": 1, "startTime": 1}, "socket": "/x"}`,
		"pid 0":         `{"version": 1, "process": {"pid": 0, "startTime": 1}, "socket": "/x"}`,
		"pid -1":        `{"version": 1, "process": {"pid": -1, "startTime": 1}, "socket": "/x"}`,
	} {
		bundle := t.TempDir()
		if content != "" {
			if err := os.WriteFile(filepath.Join(bundle, plugins.ReattachFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.Reattach(t.Context(), bundle); !errors.Is(err, plugins.ErrNoInstance) {
			t.Errorf("%s: %v, want ErrNoInstance", name, err)
		}
		if err := plugins.CleanUp(t.Context(), bundle); err != nil {
			t.Errorf("%s: clean up: %v", name, err)
		}
		if left, _ := os.ReadDir(bundle); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// sleeper starts a process that has nothing to do with plugins.
func sleeper(t *testing.T) procfs.ID {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	id, err := procfs.Lookup(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = id.Kill() })
	return id
}

func TestProcessThatGotTheNumberIsLeftAlone(t *testing.T) {
	stranger := sleeper(t)
	bundle := t.TempDir()
	err := state.WriteJSON(filepath.Join(bundle, plugins.ReattachFile), map[string]any{
		"version":         1,
		"process":         procfs.ID{PID: stranger.PID, StartTime: stranger.StartTime + 1},
		"socket":          "/tmp/plugin-dir1/plugin1",
		"protocolVersion": 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	if _, err := l.Reattach(t.Context(), bundle); !errors.Is(err, plugins.ErrNoInstance) {
		t.Errorf("reattach: %v, want ErrNoInstance", err)
	}
	other := procfs.ID{PID: stranger.PID, StartTime: stranger.StartTime - 1}
	if err := plugins.CleanUp(t.Context(), bundle, other, procfs.ID{}); err != nil {
		t.Errorf("clean up: %v", err)
	}
	if !stranger.Alive() {
		t.Error("the stranger was killed")
	}
}

func TestCleanUpEndsPluginAndHypervisor(t *testing.T) {
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	inst := launch(t, l, fakePlugin(t), bundle)
	hypervisor := sleeper(t)
	if err := plugins.CleanUp(t.Context(), bundle, hypervisor); err != nil {
		t.Fatal(err)
	}
	if hypervisor.Alive() {
		t.Error("the hypervisor lives")
	}
	closes(t, inst.Done(), time.Second, "the plugin's end")
	for _, name := range []string{"tls", plugins.ReattachFile} {
		if _, err := os.Stat(filepath.Join(bundle, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind", name)
		}
	}
	if err := plugins.CleanUp(t.Context(), bundle, hypervisor); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestEndTakesThePluginsChildrenAlong(t *testing.T) {
	p, l := rolePlugin(t, roleParent)
	inst := launch(t, l, p, newBundle(t))
	children := childrenOf(t, inst.PID())
	if len(children) != 1 {
		t.Fatalf("the plugin has children %v, want one", children)
	}
	if err := inst.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the child's end", func() bool { return !children[0].Alive() })
}

func childrenOf(t *testing.T, pid int) []procfs.ID {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		more, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, more...)
	}
	seen := map[procfs.ID]bool{}
	var ids []procfs.ID
	for f := range strings.FieldsSeq(string(data)) {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := procfs.Lookup(n); err == nil && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

func eventually(t *testing.T, within time.Duration, what string, f func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

func TestHungPluginDoesNotHangTheDaemon(t *testing.T) {
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	inst := launch(t, l, fakePlugin(t), bundle)
	if err := syscall.Kill(inst.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := l.Reattach(ctx, bundle)
	if err == nil || errors.Is(err, plugins.ErrNoInstance) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reattach to a hung plugin: %v, want it to be out of time", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("that took %s", took)
	}
	if err := plugins.CleanUp(t.Context(), bundle); err != nil {
		t.Fatal(err)
	}
	closes(t, inst.Done(), time.Second, "its end")
}

func TestLaunchSaysWhyPluginDied(t *testing.T) {
	p, l := rolePlugin(t, roleBroken)
	bundle := newBundle(t)
	_, err := l.Launch(t.Context(), p, bundle)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "libgone.so.1") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(bundle, plugins.ReattachFile)); !errors.Is(err, os.ErrNotExist) {
		t.Error("a plugin that never served is on record")
	}
}

func TestCancelledLaunchLeavesNoProcess(t *testing.T) {
	p, l := rolePlugin(t, roleSilent)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := l.Launch(ctx, p, newBundle(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want it out of time", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("that took %s", took)
	}
	for _, child := range childrenOf(t, os.Getpid()) {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", child.PID)); exe == p.Executable() {
			t.Errorf("process %d is left behind", child.PID)
		}
	}
}

func TestEndLeavesNothingBehind(t *testing.T) {
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	cycle := func() {
		bundle := newBundle(t)
		inst := launch(t, l, fakePlugin(t), bundle)
		again, err := l.Reattach(t.Context(), bundle)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := inst.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		closes(t, inst.Done(), time.Second, "its end")
		for _, name := range []string{"tls", plugins.ReattachFile} {
			if _, err := os.Stat(filepath.Join(bundle, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left behind", name)
			}
		}
	}
	cycle() // what is opened once and for all
	before := openFiles(t)
	for range 3 {
		cycle()
	}
	eventually(t, 5*time.Second, fmt.Sprintf("no more than %d open files", before), func() bool { return openFiles(t) <= before })
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestProbeTellsWhatTheHostLacks(t *testing.T) {
	p, l := rolePlugin(t, roleUnable)
	info, err := l.Probe(t.Context(), p)
	if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "install qemu-system-x86") {
		t.Errorf("got %v", err)
	}
	if info.Name != "fake" || info.Version != "test" || len(info.RuntimeDataSchema) == 0 {
		t.Errorf("info %+v", info)
	}
	l = plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	if _, err := l.Probe(t.Context(), fakePlugin(t)); err != nil {
		t.Errorf("probe of a good one: %v", err)
	}
}
