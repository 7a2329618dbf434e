package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// uptime returns how long the VM runs, in seconds.
func (h *host) uptime(name string) float64 {
	h.t.Helper()
	out := h.vzctlOK("exec", name, "--", "cut", "-d ", "-f1", "/proc/uptime")
	up, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return up
}

func TestKilledDaemonDisturbsNothing(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", "echo run; sleep infinity"))
	before := h.waitReady("web")
	up := h.uptime("web")

	h.kill()
	if len(h.processes()) < 2 {
		t.Fatal("plugin or hypervisor ended with the daemon")
	}
	h.start()
	restarted := time.Now()
	h.eventually(soon, "the status is right again", func() error {
		s, err := h.get("web")
		if err != nil {
			return err
		}
		return readyAt(1)(s)
	})
	t.Logf("Ready again %s after the daemon answered", time.Since(restarted).Round(time.Millisecond))

	after := h.mustGet("web")
	if after.Status.Runtime.PluginPID != before.Status.Runtime.PluginPID || after.Status.Runtime.HypervisorPID != before.Status.Runtime.HypervisorPID {
		t.Errorf("processes changed: %+v, was %+v", after.Status.Runtime, before.Status.Runtime)
	}
	if bootID(after) != bootID(before) {
		t.Error("the VM was started anew")
	}
	if now := h.uptime("web"); now < up {
		t.Errorf("uptime %v, was %v", now, up)
	}
	h.waitLog("web", "run\n")
	// It can still be ended.
	h.remove("web.yaml")
	h.waitGone("web")
}

// counting prints numbers without end: what is missing in its log was lost.
const counting = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"

// wantNoGap checks that the log of a counting container has every number once,
// and waits until it has gone on.
func (h *host) wantNoGap(name string) {
	h.t.Helper()
	before := len(h.numbers(name))
	h.eventually(soon, "the log goes on", func() error {
		if n := len(h.numbers(name)); n < before+20 {
			return fmt.Errorf("%d lines, %d before", n, before)
		}
		return nil
	})
	for i, line := range h.numbers(name) {
		if line != strconv.Itoa(i+1) {
			h.t.Fatalf("line %d of the log is %q: output was lost or told twice", i+1, line)
		}
	}
}

func (h *host) numbers(name string) []string {
	h.t.Helper()
	return strings.Fields(h.vzctlOK("logs", name))
}

func TestKilledPluginDisturbsNothing(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", counting))
	before := h.waitReady("web")
	up := h.uptime("web")
	if err := syscall.Kill(before.Status.Runtime.PluginPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := h.waitFor("web", "has another plugin process", func(s *manifests.Sandbox) error {
		if r := s.Status.Runtime; r == nil || r.PluginPID == 0 || r.PluginPID == before.Status.Runtime.PluginPID {
			return errNotYet
		}
		return readyAt(1)(s)
	})
	if bootID(after) != bootID(before) || after.Status.Runtime.HypervisorPID != before.Status.Runtime.HypervisorPID {
		t.Errorf("another VM: boot %s after %s", bootID(after), bootID(before))
	}
	if n := after.Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("%d restarts of a container that runs on", n)
	}
	if now := h.uptime("web"); now < up {
		t.Errorf("uptime %v, was %v", now, up)
	}
	h.wantNoGap("web")
	h.wantNoOrphans([]string{"web"})
	if countEvents(h, "web", "PluginRestarted") != 1 {
		t.Errorf("the event is missing:\n%s", h.vzctlOK("events", "sandbox/web"))
	}
	h.remove("web.yaml")
	h.waitGone("web")
	if left := h.processes(); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

func TestKilledHypervisorIsRecovered(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", "sleep infinity"))
	before := h.waitReady("web")
	if err := syscall.Kill(before.Status.Runtime.HypervisorPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := h.waitFor("web", "runs in another VM", func(s *manifests.Sandbox) error {
		if bootID(s) == bootID(before) || bootID(s) == "" {
			return errNotYet
		}
		return readyAt(1)(s)
	})
	if n := after.Status.ContainerStatuses[0].RestartCount; n == 0 {
		t.Error("the restart is not counted")
	}
	h.wantNoOrphans([]string{"web"})
}

// The agent is lost with the guest's kernel: what had reached the log stays.
func TestCrashedGuestIsRecovered(t *testing.T) {
	h := startHost(t)
	h.write("web.yaml", crashable("web", counting))
	before := h.waitReady("web")
	h.eventually(soon, "it has counted", func() error {
		if len(h.numbers("web")) < 20 {
			return errNotYet
		}
		return nil
	})
	seen := len(h.numbers("web"))
	if !h.crashGuest("web") {
		t.Fatal("the guest was not there to be crashed")
	}
	after := h.waitFor("web", "runs in another VM", func(s *manifests.Sandbox) error {
		if bootID(s) == bootID(before) || bootID(s) == "" {
			return errNotYet
		}
		return readyAt(1)(s)
	})
	cs := after.Status.ContainerStatuses[0]
	if last := cs.LastTerminationState.Terminated; cs.RestartCount != 1 || last == nil || last.Reason != "VirtualMachineLost" {
		t.Errorf("%d restarts, last %+v; want one, for the loss of the VM", cs.RestartCount, last)
	}
	h.wantRuns("web", 2)
	if first := slices.Index(h.numbers("web")[1:], "1") + 1; first < seen {
		t.Errorf("the log has %d lines of the first run, %d were seen before its end", first, seen)
	}
	h.wantNoOrphans([]string{"web"})
}

func TestPluginAndDaemonKilledTogetherDisturbNothing(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", counting))
	before := h.waitReady("web")
	h.kill()
	if err := syscall.Kill(before.Status.Runtime.PluginPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.start()
	after := h.waitFor("web", "is Ready again", func(s *manifests.Sandbox) error {
		if r := s.Status.Runtime; r == nil || r.PluginPID == before.Status.Runtime.PluginPID {
			return errNotYet
		}
		return readyAt(1)(s)
	})
	if bootID(after) != bootID(before) || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("another VM: boot %s after %s, %d restarts", bootID(after), bootID(before), after.Status.ContainerStatuses[0].RestartCount)
	}
	h.wantNoGap("web")
	h.wantNoOrphans([]string{"web"})
}

func TestAllThreeKilledTogetherAreRecovered(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", "sleep infinity"))
	before := h.waitReady("web")
	h.kill()
	for _, pid := range []int{before.Status.Runtime.PluginPID, before.Status.Runtime.HypervisorPID} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	h.start()
	h.waitFor("web", "runs in another VM", func(s *manifests.Sandbox) error {
		if bootID(s) == bootID(before) || bootID(s) == "" {
			return errNotYet
		}
		return readyAt(1)(s)
	})
}

func TestFileRemovedWhileDaemonIsDown(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("a.yaml", sandboxYAML("web", "sleep infinity"))
	h.waitReady("web")
	h.stop()
	h.remove("a.yaml")
	h.start()
	h.waitGone("web")
	h.eventually(soon, "no process is left", func() error {
		if left := h.processes(); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

func TestContainerRestartPolicy(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	always := sandboxYAML("always", "echo run; sleep 0.5; exit 3")
	never := strings.Replace(sandboxYAML("never", "exit 0"), "    spec:\n", "    spec:\n      restartPolicy: Never\n", 1)
	failed := strings.Replace(sandboxYAML("failed", "exit 7"), "    spec:\n", "    spec:\n      restartPolicy: Never\n", 1)
	h.write("a.yaml", always+"---\n"+never+"---\n"+failed)

	s := h.waitFor("always", "was restarted twice", func(s *manifests.Sandbox) error {
		if len(s.Status.ContainerStatuses) == 0 || s.Status.ContainerStatuses[0].RestartCount < 2 {
			return errNotYet
		}
		return nil
	})
	last := s.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || last.FinishedAt.IsZero() {
		t.Errorf("last state %+v, want exit code 3", last)
	}
	for name, want := range map[string]manifests.Phase{"never": manifests.PhaseSucceeded, "failed": manifests.PhaseFailed} {
		s := h.waitFor(name, "has ended", func(s *manifests.Sandbox) error {
			if s.Status.Phase != want {
				return fmt.Errorf("phase %s, want %s", s.Status.Phase, want)
			}
			return nil
		})
		if status, _, _ := condition(s, manifests.ConditionFinished); status != "True" {
			t.Errorf("%s: Finished=%s, want True", name, status)
		}
	}
	if c := h.mustGet("failed").Status.ContainerStatuses[0].State.Terminated; c == nil || c.ExitCode != 7 {
		t.Errorf("failed: state %+v, want exit code 7", c)
	}
}

func TestStopStartRestart(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", "echo $RANDOM >> /kept; wc -l < /kept; sleep infinity"))
	first := h.waitReady("web")
	h.vzctlOK("stop", "web")
	if s := h.mustGet("web"); s.Status.Phase != manifests.PhaseStopped {
		t.Errorf("phase %s after stop, want Stopped", s.Status.Phase)
	}
	if left := h.processes(); len(left) > 0 {
		t.Errorf("processes left after stop: %v", left)
	}
	// Held across a restart of the daemon.
	h.stop()
	h.start()
	if s := h.mustGet("web"); s.Status.Phase != manifests.PhaseStopped {
		t.Errorf("phase %s after the daemon's restart, want Stopped", s.Status.Phase)
	}
	h.vzctlOK("start", "web")
	second := h.waitReady("web")
	if bootID(second) == bootID(first) {
		t.Error("start did not boot the VM")
	}
	if got := h.vzctlOK("exec", "web", "--", "sh", "-c", "wc -l < /kept"); got != "2\n" {
		t.Errorf("the writable disk holds %q lines, want 2", got)
	}
	h.vzctlOK("restart", "web")
	if s := h.waitReady("web"); bootID(s) == bootID(second) {
		t.Error("restart did not boot the VM")
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	cmd := h.command(t.Context())
	cmd.Path, cmd.Args = bin(t, "vzreconciler"), []string{"vzreconciler", "--manifests", h.folder, "--state-dir", h.state, "--metrics-addr", "127.0.0.1:0"}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use") || !strings.Contains(string(out), filepath.Base(h.state)) {
		t.Errorf("second daemon: %v:\n%s", err, out)
	}
	h.vzctlOK("system", "status")
}
