package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// bootTimeout is ample for a VM under emulation on a busy host.
const bootTimeout = 90 * time.Second

// soon is ample, on a busy host, for what takes a moment on an idle one.
const soon = time.Minute

// host is one daemon with its state directory and its folder of manifests.
type host struct {
	t       *testing.T
	dir     string
	state   string
	folder  string
	flags   []string
	env     []string
	metrics string

	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

// repo returns the top of the source tree.
func repo(t testing.TB) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(filepath.Dir(wd))
}

// bin returns a built binary.
func bin(t testing.TB, name string) string {
	t.Helper()
	p := filepath.Join(repo(t), "bin", name)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("%s is not built: run make build", name)
	}
	return p
}

// seed is a host's directory with an installed kernel and a verdict on
// acceleration, made by the first test: each host starts from a copy.
var seed struct {
	once sync.Once
	dir  string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vze2e-seed-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	seed.dir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func seeded(t *testing.T) string {
	t.Helper()
	seed.once.Do(func() {
		h := newHostAt(t, seed.dir)
		h.vzctlOK("kernel", "install", "--deb", kernelDeb(t))
		h.start()
		h.write("seed.yaml", sandboxYAML("seed", "sleep infinity"))
		h.waitReady("seed")
		h.remove("seed.yaml")
		h.waitGone("seed")
		h.stop()
	})
	return seed.dir
}

func kernelDeb(t testing.TB) string {
	t.Helper()
	debs, _ := filepath.Glob(filepath.Join(repo(t), ".cache", "debs", "linux-image-*.deb"))
	if len(debs) == 0 {
		t.Fatal("no kernel package in .cache/debs: run make setup")
	}
	return debs[0]
}

func newHostAt(t *testing.T, dir string) *host {
	t.Helper()
	h := &host{
		t: t, dir: dir,
		state:  filepath.Join(dir, "state"),
		folder: filepath.Join(dir, "manifests"),
	}
	for _, d := range []string{h.state, h.folder} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// newHost returns a host that is ready to start; at the end of the test it is
// stopped, with everything that it ran.
func newHost(t *testing.T, flags ...string) *host {
	t.Helper()
	from := seeded(t)
	h := newHostAt(t, t.TempDir())
	h.flags = flags
	for _, sub := range []string{"kernels", "cache"} {
		src := filepath.Join(from, "state", sub)
		if _, err := os.Stat(src); err != nil {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), "cp", "-a", src, h.state).CombinedOutput(); err != nil {
			t.Fatalf("copy the seed: %v: %s", err, out)
		}
	}
	t.Cleanup(h.cleanUp)
	return h
}

// startHost is newHost and start.
func startHost(t *testing.T, flags ...string) *host {
	t.Helper()
	h := newHost(t, flags...)
	h.start()
	return h
}

func (h *host) cleanUp() {
	if h.t.Failed() {
		h.dump()
	}
	if h.cmd != nil {
		h.stop()
	}
	for _, p := range h.processes() {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
}

// dump prints what helps to understand a failure.
func (h *host) dump() {
	if out, _, _ := h.vzctl("get", "all", "-A", "-o", "yaml"); out != "" {
		h.t.Logf("objects:\n%s", out)
	}
	if data, err := os.ReadFile(h.log); err == nil {
		h.t.Logf("daemon's log:\n%s", tail(data, 12<<10))
	}
	logs, _ := filepath.Glob(filepath.Join(h.state, "sandboxes", "*", "*", "logs", "*.log"))
	for _, l := range logs {
		if data, err := os.ReadFile(l); err == nil {
			h.t.Logf("%s:\n%s", l, tail(data, 2<<10))
		}
	}
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

// start starts the daemon and waits until it answers.
func (h *host) start() {
	h.t.Helper()
	h.log = filepath.Join(h.dir, "daemon.log")
	logFile, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer logFile.Close()
	args := append([]string{"--manifests", h.folder, "--state-dir", h.state, "--metrics-addr", "127.0.0.1:0"}, h.flags...)
	// Not the test's context: a VM may outlive the daemon, and the test ends both.
	h.cmd = exec.CommandContext(context.WithoutCancel(h.t.Context()), bin(h.t, "vzreconciler"), args...)
	h.cmd.Stdout, h.cmd.Stderr = logFile, logFile
	h.cmd.Env = append(os.Environ(), h.env...)
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(h.cmd, h.done)
	h.eventually(soon, "the daemon answers", func() error {
		select {
		case <-h.done:
			data, _ := os.ReadFile(h.log)
			h.t.Fatalf("the daemon ended:\n%s", tail(data, 4<<10))
		default:
		}
		out, errOut, code := h.vzctl("system", "status", "-o", "json")
		if code != 0 {
			return errors.New(errOut)
		}
		var st struct {
			MetricsAddr string `json:"metricsAddr"`
		}
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			return err
		}
		h.metrics = st.MetricsAddr
		return nil
	})
}

// stop ends the daemon as a service manager does; VMs run on.
func (h *host) stop() { h.end(syscall.SIGTERM) }

// kill ends the daemon with SIGKILL.
func (h *host) kill() { h.end(syscall.SIGKILL) }

func (h *host) end(sig syscall.Signal) {
	h.t.Helper()
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Signal(sig)
	select {
	case <-h.done:
	case <-time.After(soon):
		_ = h.cmd.Process.Kill()
		<-h.done
		h.t.Errorf("the daemon did not end within %s of %v", soon, sig)
	}
	h.cmd = nil
}

// vzctl runs the CLI and returns what it printed and its exit code.
func (h *host) vzctl(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	return h.vzctlIn(nil, args...)
}

func (h *host) vzctlIn(stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.t.Context()), 3*time.Minute)
	defer cancel()
	cmd := h.command(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errOut
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		h.t.Fatalf("vzctl %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func (h *host) command(ctx context.Context, args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := exec.CommandContext(ctx, bin(h.t, "vzctl"), args...)
	cmd.Env = append(os.Environ(), "VZ_STATE_DIR="+h.state)
	return cmd
}

// vzctlOK runs the CLI, which must succeed, and returns what it printed.
func (h *host) vzctlOK(args ...string) string {
	h.t.Helper()
	out, errOut, code := h.vzctl(args...)
	if code != 0 {
		h.t.Fatalf("vzctl %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// path returns a path in the folder of manifests.
func (h *host) path(name string) string { return filepath.Join(h.folder, name) }

// write writes a manifest as an editor does: whole, by rename.
func (h *host) write(name, content string) {
	h.t.Helper()
	tmp := filepath.Join(h.dir, "edited")
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(tmp, h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) remove(name string) {
	h.t.Helper()
	if err := os.Remove(h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

// get returns a sandbox as `vzctl get -o json` prints it.
func (h *host) get(name string) (*manifests.Sandbox, error) {
	h.t.Helper()
	out, errOut, code := h.vzctl("get", "sandbox", name, "-o", "json")
	if code != 0 {
		return nil, fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(errOut))
	}
	var s manifests.Sandbox
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return nil, fmt.Errorf("%w in %s", err, out)
	}
	return &s, nil
}

func (h *host) mustGet(name string) *manifests.Sandbox {
	h.t.Helper()
	s, err := h.get(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// waitReady waits until a sandbox is Ready at the generation on disk.
func (h *host) waitReady(name string) *manifests.Sandbox {
	h.t.Helper()
	h.vzctlOK("wait", "--for=condition=Ready", "sandbox/"+name, "--timeout", bootTimeout.String())
	return h.mustGet(name)
}

func (h *host) waitGone(name string) {
	h.t.Helper()
	h.vzctlOK("wait", "--for=delete", "sandbox/"+name, "--timeout", "60s")
}

// waitFor waits until a sandbox fits.
func (h *host) waitFor(name, what string, fits func(*manifests.Sandbox) error) *manifests.Sandbox {
	h.t.Helper()
	var s *manifests.Sandbox
	h.eventually(bootTimeout, name+" "+what, func() error {
		var err error
		if s, err = h.get(name); err != nil {
			return err
		}
		return fits(s)
	})
	return s
}

// waitLog waits until a sandbox's log is just so: what a container prints comes
// a moment after it runs.
func (h *host) waitLog(name, want string) {
	h.t.Helper()
	h.eventually(soon, "the log of "+name, func() error {
		if got := h.vzctlOK("logs", name); got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

// eventually waits until check succeeds.
func (h *host) eventually(d time.Duration, what string, check func() error) {
	h.t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			h.t.Fatalf("not within %s: %s: %v", d, what, err)
		case <-tick.C:
		}
	}
}

// scrape returns what Prometheus would read.
func (h *host) scrape() string {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, "http://"+h.metrics+"/metrics", http.NoBody)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatalf("scrape: %s, %v", resp.Status, err)
	}
	return string(data)
}

// processes returns every process, other than the daemon, whose command line or
// environment names this host's directory.
func (h *host) processes() []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, s := range stats {
		dir := filepath.Dir(s)
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || (h.cmd != nil && pid == h.cmd.Process.Pid) {
			continue
		}
		cmdline, _ := os.ReadFile(s)
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.Contains(cmdline, []byte(h.dir+"/")) || bytes.Contains(environ, []byte(h.dir+"/")) {
			if _, err := procfs.Lookup(pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// condition returns a condition of a sandbox, empty if there is none.
func condition(s *manifests.Sandbox, typ string) (status, reason, message string) {
	for _, c := range s.Status.Conditions {
		if c.Type == typ {
			return string(c.Status), c.Reason, c.Message
		}
	}
	return "", "", ""
}

// bootID returns what tells one boot of a VM from another.
func bootID(s *manifests.Sandbox) string {
	if s.Status.Runtime == nil {
		return ""
	}
	return s.Status.Runtime.BootID
}

// sandboxYAML returns the manifest of a sandbox that runs a shell command in the
// image of the examples.
func sandboxYAML(name, command string) string {
	return fmt.Sprintf(`apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata:
  name: %s
  labels: {tier: one}
spec:
  podTemplate:
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: docker-archive:%s
        command: [sh, -c, %q]
  vm: {memory: 128Mi}
`, name, busyboxArchive, command)
}

// busyboxArchive is the image of the examples.
var busyboxArchive = func() string {
	wd, err := os.Getwd()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(filepath.Dir(wd)), "examples", "image", "busybox.tar")
}()
