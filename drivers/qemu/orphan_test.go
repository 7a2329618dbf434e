package qemu_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

// playOrphan is the test binary as a runtime's process: it boots a sandbox,
// tells which machine it has, and waits to be killed.
func playOrphan(bundle string) {
	rt := linuxvm.New(qemu.New(qemu.Options{}), linuxvm.Options{})
	ctx := context.Background()
	err := rt.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: bundle})
	s, _ := rt.State(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(procfs.ID{PID: s.Machine.PID, StartTime: s.Machine.StartTime})
	select {}
}

func TestKilledProcessLeavesNeitherQEMUNorSocketBehind(t *testing.T) {
	sockets := t.TempDir()
	dir := getWorld(t).bundle(t, "default/web", "sleep 1000", func(c *drivers.Configuration) {
		c.SocketDir = sockets
	})
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
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var id procfs.ID
	if err := json.Unmarshal(line, &id); err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Fatal("the machine does not run")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed, as wanted
	deadline := time.NewTimer(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for id.Alive() {
		select {
		case <-tick.C:
		case <-deadline.C:
			_ = id.Kill()
			t.Fatal("QEMU outlived the process that owned it")
		}
	}
	if left, err := os.ReadDir(sockets); err != nil || len(left) > 0 {
		t.Errorf("left in the socket directory: %v, %v", left, err)
	}
}
