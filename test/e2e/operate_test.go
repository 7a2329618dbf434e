package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// TestOperatingASandbox does what people do to one that runs.
func TestOperatingASandbox(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	// Upper case comes back from port 7000, what was sent from 7001.
	h.write("web.yaml", sandboxYAML("web", `trap 'echo hup' HUP; nc -ll -p 7000 -e tr a-z A-Z & nc -ll -p 7001 -e cat &
n=0; while :; do n=$((n+1)); echo $n > /tmp/n; sleep 0.1; done`))
	h.waitReady("web")
	for _, step := range []struct {
		name string
		do   func(t *testing.T, h *host)
	}{
		{"Dial", dialsPorts},
		{"Kill", killsWithSignals},
		{"Pause", pausesAndKeepsTime},
		{"Statistics", showsStatistics},
		{"ManyExecs", runsManyExecs},
		{"PortForward", forwardsAcrossARestart},
	} {
		t.Run(step.name, func(t *testing.T) {
			outer := h.t
			h.t = t
			defer func() { h.t = outer }()
			step.do(t, h)
		})
	}
}

func dialsPorts(t *testing.T, h *host) {
	h.eventually(soon, "the port answers", func() error {
		out, errOut, code := h.vzctlIn(strings.NewReader("hello\n"), "dial", "web", "7000")
		if code != 0 || out != "HELLO\n" {
			return fmt.Errorf("%q, %q, %d", out, errOut, code)
		}
		return nil
	})
	large := strings.Repeat("0123456789abcde\n", 1<<19) // 8 MiB
	if out, errOut, code := h.vzctlIn(strings.NewReader(large), "dial", "web", "7001"); out != large || code != 0 {
		t.Errorf("%d of %d bytes came back; %s", len(out), len(large), errOut)
	}
	if _, errOut, code := h.vzctl("dial", "web", "9"); code != 1 || !strings.Contains(errOut, "nothing listens on port 9") {
		t.Errorf("a closed port: code %d, %q", code, errOut)
	}
	if _, _, code := h.vzctl("dial", "nosuch", "9"); code != 3 {
		t.Errorf("a sandbox that is not there: code %d", code)
	}
}

func killsWithSignals(t *testing.T, h *host) {
	h.vzctlOK("kill", "-s", "HUP", "web")
	h.waitLog("web", "hup\n")
	h.vzctlOK("kill", "web")
	s := h.waitFor("web", "was restarted", func(s *manifests.Sandbox) error {
		cs := s.Status.ContainerStatuses[0]
		if cs.RestartCount != 1 || cs.State.Running == nil {
			return errNotYet
		}
		return nil
	})
	if last := s.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 137 {
		t.Errorf("the end of the run before: %+v", last)
	}
	h.vzctlOK("kill", "-s", "1", "web")
	h.waitLog("web", "hup\nhup\n")
	if out := h.vzctlOK("logs", "web", "--previous"); out != "hup\n" {
		t.Errorf("the log of the run before is %q", out)
	}
	if _, _, code := h.vzctl("kill", "-s", "NOSUCH", "web"); code != 2 {
		t.Errorf("a signal that is none: code %d", code)
	}
}

// count returns how far the sandbox has counted.
func (h *host) count() int {
	h.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(h.vzctlOK("exec", "web", "--", "cat", "/tmp/n")))
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func pausesAndKeepsTime(t *testing.T, h *host) {
	before := h.mustGet("web")
	h.vzctlOK("pause", "web")
	s := h.mustGet("web")
	if s.Status.Phase != manifests.PhasePaused {
		t.Errorf("phase %s", s.Status.Phase)
	}
	if _, errOut, code := h.vzctl("exec", "web", "--", "true"); code != 1 || !strings.Contains(errOut, "Paused") {
		t.Errorf("exec in a paused sandbox: code %d, %q", code, errOut)
	}
	// It stays so with another daemon. The time this takes, at least three seconds,
	// is what the guest's clock has to catch up with.
	paused := time.Now()
	h.kill()
	h.start()
	h.eventually(soon, "three seconds have passed", func() error {
		if s := h.mustGet("web"); s.Status.Phase != manifests.PhasePaused && s.Status.Phase != manifests.PhasePending {
			t.Fatalf("phase %s after a daemon's restart", s.Status.Phase)
		}
		if time.Since(paused) < 3*time.Second {
			return errNotYet
		}
		return nil
	})
	h.vzctlOK("resume", "web")
	asked := time.Now()
	out := h.vzctlOK("exec", "web", "--", "date", "+%s")
	guest, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if early, late := asked.Unix()-1, time.Now().Unix()+1; guest < early || guest > late {
		t.Errorf("the guest's clock says %d, want %d to %d", guest, early, late)
	}
	if s := h.mustGet("web"); bootID(s) != bootID(before) || s.Status.Phase != manifests.PhaseRunning {
		t.Errorf("after the pause: phase %s, boot %s after %s", s.Status.Phase, bootID(s), bootID(before))
	}
	n := h.count()
	h.eventually(soon, "it counts on", func() error {
		if h.count() <= n {
			return errNotYet
		}
		return nil
	})
}

func showsStatistics(t *testing.T, h *host) {
	var list struct {
		Items []struct {
			Name    string
			Sandbox struct {
				MemoryBytes, ProcessLimit uint64
				CPUPressure, IOPressure   *struct{ Some, Full float64 }
			}
			Containers map[string]struct{ MemoryBytes, Processes uint64 }
		}
	}
	if err := json.Unmarshal([]byte(h.vzctlOK("stats", "--no-stream", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Sandbox.ProcessLimit == 0 || list.Items[0].Containers["main"].Processes < 3 {
		t.Fatalf("%+v", list)
	}
	if s := list.Items[0].Sandbox; s.CPUPressure == nil || s.IOPressure == nil {
		t.Error("there is no pressure")
	}
	out := h.vzctlOK("stats", "--no-stream", "-c", "-o", "wide")
	if !regexp.MustCompile(`(?m)^default +web +main +[0-9.]+% +[0-9.]+MiB `).MatchString(out) {
		t.Errorf("no row of the container:\n%s", out)
	}
}

func runsManyExecs(t *testing.T, h *host) {
	const many = 100
	start := time.Now()
	var running sync.WaitGroup
	for i := range many {
		running.Go(func() {
			in := fmt.Sprint("number ", i)
			out, errOut, code := h.vzctlIn(strings.NewReader(in), "exec", "-i", "web", "--", "sh", "-c", "cat; exit 7")
			if out != in || code != 7 {
				t.Errorf("exec %d: code %d, %q, %q", i, code, out, errOut)
			}
		})
	}
	running.Wait()
	t.Logf("%d execs at once took %s", many, time.Since(start))
}

func forwardsAcrossARestart(t *testing.T, h *host) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := h.command(ctx, "port-forward", "web", ":7000", ":7001", "--address", "127.0.0.1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errOut strings.Builder
	cmd.Stderr = &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	lines := bufio.NewScanner(stdout)
	for range 2 {
		if !lines.Scan() {
			t.Fatalf("it ended: %v", lines.Err())
		}
		address, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "Forwarding from "), " ")
		addresses = append(addresses, address)
	}
	ask := func(address, text string) (string, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			return "", err
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return "", err
		}
		answer, err := io.ReadAll(conn)
		return string(answer), err
	}
	if got, err := ask(addresses[0], "hello"); err != nil || got != "HELLO" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := ask(addresses[1], "hello"); err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	h.vzctlOK("restart", "web")
	h.eventually(soon, "the port answers again", func() error {
		got, err := ask(addresses[0], "again")
		if got != "AGAIN" {
			return fmt.Errorf("%q, %w", got, errors.Join(err, errNotYet))
		}
		return nil
	})
	h.kill()
	h.start()
	h.eventually(60*time.Second, "the port answers through another daemon", func() error {
		got, err := ask(addresses[1], "still")
		if got != "still" {
			return fmt.Errorf("%q, %w", got, errors.Join(err, errNotYet))
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); exited {
			t.Errorf("it ended with %v", err)
		}
	}
	if !strings.Contains(errOut.String(), "runs again") {
		t.Errorf("it did not tell of the restart: %q", errOut.String())
	}
}
