package qemu_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

// playOrphan is the test binary as a runtime's process: it boots a sandbox, starts
// its container, tells which machine it has, and waits to be killed.
func playOrphan(bundle string) {
	rt := linuxvm.New(qemu.New(qemu.Options{}), linuxvm.Options{})
	ctx := context.Background()
	err := rt.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: bundle})
	if err == nil {
		err = rt.StartProcess(ctx, "web")
	}
	s, _ := rt.State(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(s)
	select {}
}

// bootAndKill boots the bundle in a process of its own, kills that once the log
// shows that the container has come to speak, and returns what it told.
func bootAndKill(t *testing.T, dir string) drivers.Snapshot {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), exe)
	parent.Env = append(os.Environ(), orphanRole+"="+dir)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var s drivers.Snapshot
	if err := json.NewDecoder(out).Decode(&s); err != nil {
		t.Fatal(err)
	}
	until(t, "the container speaks", func() bool { return len(logged(t, dir)) > 20 })
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed, as wanted
	return s
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// logged returns the lines of the container's log.
func logged(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := crilog.Read(t.Context(), filepath.Join(dir, drivers.LogsDir, "web.log"), crilog.ReadOptions{Tail: -1}, func(line []byte) error {
		l, err := crilog.ParseLine(line)
		lines = append(lines, string(l.Text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func machineID(s drivers.Snapshot) procfs.ID {
	return procfs.ID{PID: s.Machine.PID, StartTime: s.Machine.StartTime}
}

func TestMachineOutlivesItsRuntimeAndIsTakenOver(t *testing.T) {
	dir := getWorld(t).bundle(t, "default/web", "n=0; while :; do n=$((n+1)); echo $n; done", nil)
	before := bootAndKill(t, dir)
	if !machineID(before).Alive() {
		t.Fatal("QEMU did not outlive the process that started it")
	}

	rt := linuxvm.New(qemu.New(qemu.Options{}), linuxvm.Options{})
	start := time.Now()
	if err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	t.Logf("taken over in %s", time.Since(start).Round(time.Millisecond))
	after := snapshot(t, rt)
	if after.State != drivers.StateRunning || after.Machine.BootID != before.Machine.BootID || machineID(after) != machineID(before) {
		t.Errorf("taken over: %s, %+v, was %+v", after.State, after.Machine, before.Machine)
	}
	if was, is := before.Processes[0], after.Processes[0]; is.State != drivers.ProcessRunning || !is.StartedAt.Equal(was.StartedAt) {
		t.Errorf("the process is %+v, was %+v", is, was)
	}
	n := len(logged(t, dir))
	until(t, "the log goes on", func() bool { return len(logged(t, dir)) > n+100 })
	if _, err := rt.Exec(t.Context(), "web", drivers.ProcessSpec{Args: []string{"true"}, Env: []drivers.EnvVar{{Name: "PATH", Value: "/bin"}}}, drivers.Stdio{}); err != nil {
		t.Errorf("exec after the take-over: %v", err)
	}
	if err := rt.Stop(t.Context(), drivers.StopOptions{}); err != nil {
		t.Error(err)
	}
	if err := rt.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for i, line := range logged(t, dir) {
		if line != strconv.Itoa(i+1) {
			t.Fatalf("line %d of the log is %q: output was lost or told twice", i+1, line)
		}
	}
	if machineID(before).Alive() {
		t.Error("QEMU runs on after the stop")
	}
}

func TestMachineTakenOverThatDiesStopsTheSandbox(t *testing.T) {
	dir := getWorld(t).bundle(t, "default/web", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done", nil)
	before := bootAndKill(t, dir)
	rt := linuxvm.New(qemu.New(qemu.Options{}), linuxvm.Options{})
	if err := rt.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	if err := machineID(before).Kill(); err != nil {
		t.Fatal(err)
	}
	if s := waitState(t, rt, drivers.StateStopped); s.Reason == "" {
		t.Error("no reason is told")
	}
	if err := rt.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
