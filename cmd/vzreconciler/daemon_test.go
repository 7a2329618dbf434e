package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// mainEnv makes the test binary be vzreconciler.
const mainEnv = "VZRECONCILER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a daemon under test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	log *lockedBuffer
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start starts a daemon on a state directory below dir.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "m"), 0o700); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--manifests", filepath.Join(dir, "m"), "--state-dir", filepath.Join(dir, "s"), "--metrics-addr", "127.0.0.1:0"}, args...)
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), exe, args...), log: &lockedBuffer{}}
	p.cmd.Env = append(os.Environ(), mainEnv+"=1", "XDG_RUNTIME_DIR=")
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// until waits for a condition of the daemon.
func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			p.t.Fatalf("the daemon does not %s; its log:\n%s", what, p.log)
		}
	}
}

// status asks the daemon, which may not answer.
func (p *process) status(dir string) (*api.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	client, err := api.Dial(ctx, filepath.Join(dir, "s", "run", "vzreconciler.sock"))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Status(ctx, &api.StatusRequest{})
}

func (p *process) waitReady(dir string) *api.StatusResponse {
	p.t.Helper()
	var status *api.StatusResponse
	p.until("answer", func() bool {
		var err error
		status, err = p.status(dir)
		return err == nil && status.GetLastSync() != nil
	})
	return status
}

// end sends a signal and returns the exit code.
func (p *process) end(s syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	stuck := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stateDir returns a directory whose path leaves room for a socket.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vzr") //nolint:usetesting // whose paths are long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheDaemonStartsAnswersAndEnds(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := stateDir(t)
		p := start(t, dir)
		status := p.waitReady(dir)
		if int(status.GetPid()) != p.cmd.Process.Pid || status.GetStateDir() != filepath.Join(dir, "s") {
			t.Errorf("status %v", status)
		}
		for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "vzreconciler_"} {
			if code, body := get(t, status.GetMetricsAddr(), path); code != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s answers %d: %.200s", path, code, body)
			}
		}
		if code := p.end(s); code != 0 {
			t.Errorf("%v: exit code %d; its log:\n%s", s, code, p.log)
		}
		if _, err := os.Stat(filepath.Join(dir, "s", "run", "vzreconciler.sock")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	}
}

func TestASecondDaemonOnOneStateDirectoryIsRefused(t *testing.T) {
	dir := stateDir(t)
	first := start(t, dir)
	first.waitReady(dir)
	second := start(t, dir)
	if code := second.wait(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	want := fmt.Sprintf("state directory %s: in use by another daemon (pid %d)", filepath.Join(dir, "s"), first.cmd.Process.Pid)
	if !strings.Contains(second.log.String(), want) {
		t.Errorf("it said %q, want %q", second.log, want)
	}
	if _, err := first.status(dir); err != nil {
		t.Errorf("the first was disturbed: %v", err)
	}
}

func TestADaemonStartsAfterOneThatWasKilled(t *testing.T) {
	dir := stateDir(t)
	p := start(t, dir)
	p.waitReady(dir)
	p.end(syscall.SIGKILL)
	p = start(t, dir)
	p.waitReady(dir)
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d; its log:\n%s", code, p.log)
	}
}

func TestATakenPortEndsTheDaemonWithAClearError(t *testing.T) {
	taken, err := listenHTTP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := start(t, stateDir(t), "--metrics-addr", taken.Addr().String())
	if code := p.wait(); code != exitFailed || !strings.Contains(p.log.String(), "is taken: choose another with --metrics-addr") {
		t.Errorf("exit code %d, it said %q", code, p.log)
	}
}

func TestSIGHUPHasTheManifestsReadAnew(t *testing.T) {
	dir := stateDir(t)
	p := start(t, dir, "--resync=1h", "--log-format=json")
	before := p.waitReady(dir).GetLastSync().AsTime()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.until("read the manifests anew", func() bool {
		status, err := p.status(dir)
		return err == nil && status.GetLastSync().AsTime().After(before)
	})
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(p.log.String()) {
		if !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("a line of the log is no JSON: %q", line)
		}
	}
}

func TestVersion(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "--version")
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "vzreconciler ") {
		t.Errorf("%q, %v", out, err)
	}
}
