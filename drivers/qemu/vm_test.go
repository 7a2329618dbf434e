package qemu_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

// sh runs a script in the container and returns what it printed.
func sh(t *testing.T, rt drivers.Runtime, script string) string {
	t.Helper()
	var out, errs bytes.Buffer
	exit, err := rt.Exec(t.Context(), "web", drivers.ProcessSpec{
		Args: []string{"/bin/sh", "-c", script},
		Env:  []drivers.EnvVar{{Name: "PATH", Value: "/bin"}},
	}, drivers.Stdio{Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	if exit.Code != 0 {
		t.Fatalf("%s: exit code %d: %s", script, exit.Code, errs.String())
	}
	return out.String()
}

func TestVirtualMachineBootsRunsAndStops(t *testing.T) {
	dir := getWorld(t).bundle(t, "default/web", "echo hello from the guest; trap 'exit 7' TERM; while :; do sleep 1 & wait; done", nil)
	begin := time.Now()
	rt := boot(t, dir)
	t.Logf("running after %s", time.Since(begin))
	s := snapshot(t, rt)
	for i, stage := range s.Timeline {
		t.Logf("%-10s %s", stage.Name, s.Timeline[i].Time.Sub(begin).Round(time.Millisecond))
	}
	m := s.Machine
	if m.Type != "q35" || m.Accelerator != "tcg" || !strings.HasPrefix(m.Hypervisor, "qemu ") || m.KernelVersion == "" || m.BootID == "" {
		t.Errorf("machine %+v", m)
	}
	if !(procfs.ID{PID: m.PID, StartTime: m.StartTime}).Alive() {
		t.Error("the machine's process is not the one told")
	}

	if got := sh(t, rt, "echo out; echo $((6*7))"); got != "out\n42\n" {
		t.Errorf("exec printed %q", got)
	}
	stats, err := rt.Statistics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.HostMemoryBytes < 50<<20 || stats.Sandbox.MemoryBytes == 0 || stats.Containers["web"].Processes == 0 {
		t.Errorf("statistics %+v", stats)
	}
	t.Logf("host memory %d MiB", stats.HostMemoryBytes>>20)

	if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: 20 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if exit, err := rt.Wait(t.Context(), "web"); err != nil || exit.Code != 7 {
		t.Errorf("exit %+v, %v, want the trap's 7", exit, err)
	}
	if (procfs.ID{PID: m.PID, StartTime: m.StartTime}).Alive() {
		t.Error("the machine's process outlived the stop")
	}
	log, err := os.ReadFile(filepath.Join(dir, drivers.LogsDir, "web.log"))
	if err != nil || !strings.Contains(string(log), " stdout F hello from the guest\n") {
		t.Errorf("log %q, %v", log, err)
	}
}

func TestKilledQEMUStopsTheSandboxWithTheReason(t *testing.T) {
	rt := boot(t, getWorld(t).bundle(t, "default/web", "sleep 1000", nil))
	if err := syscall.Kill(snapshot(t, rt).Machine.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s := waitState(t, rt, drivers.StateStopped)
	if s.Reason != "the virtual machine process exited: signal: killed" {
		t.Errorf("reason %q", s.Reason)
	}
	if exit, err := rt.Wait(t.Context(), "web"); err != nil || exit.Code != 255 {
		t.Errorf("exit %+v, %v", exit, err)
	}
}

func TestMachinesShareABaseImage(t *testing.T) {
	w := getWorld(t)
	one := boot(t, w.bundle(t, "default/one", "sleep 1000", nil))
	two := boot(t, w.bundle(t, "default/two", "sleep 1000", nil))
	sh(t, one, "echo one > /mine")
	if got := sh(t, two, "ls /mine 2>/dev/null || echo none"); got != "none\n" {
		t.Errorf("one sandbox sees the other's file: %q", got)
	}
}

func TestWritableDiskOutlivesTheMachine(t *testing.T) {
	dir := getWorld(t).bundle(t, "default/web", "sleep 1000", nil)
	first := boot(t, dir)
	sh(t, first, "echo kept > /mine; sync")
	if err := syscall.Kill(snapshot(t, first).Machine.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitState(t, first, drivers.StateStopped)
	if got := sh(t, boot(t, dir), "cat /mine"); got != "kept\n" {
		t.Errorf("after the crash the file holds %q", got)
	}
}

func TestResumeSetsTheClock(t *testing.T) {
	rt := boot(t, getWorld(t).bundle(t, "default/web", "sleep 1000", nil))
	if err := rt.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	paused := time.NewTimer(3 * time.Second)
	<-paused.C
	if err := rt.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	guest, err := strconv.ParseInt(strings.TrimSpace(sh(t, rt, "date +%s")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if low, high := before.Unix()-1, time.Now().Unix()+1; guest < low || guest > high {
		t.Errorf("the guest's clock says %d, want it between %d and %d", guest, low, high)
	}
}
