package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// startRegistry runs Debian's docker-registry on the loopback, filled by skopeo
// with the image of the examples, and returns its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	registry := filepath.Join(repo(t), ".cache", "root", "usr", "bin", "docker-registry")
	if _, err := os.Stat(registry); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\nlog: {level: error}\n", dir, addr)
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), registry, "serve", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	h := &host{t: t}
	h.eventually(soon, "the registry answers", func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v2/", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	return addr
}

func skopeoCopy(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", from, to).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy %s %s: %v\n%s", from, to, err, out)
	}
}

func TestManifestInFolderBecomesRunningVM(t *testing.T) {
	t.Parallel()
	registry := startRegistry(t)
	skopeoCopy(t, "docker-archive:"+busyboxArchive, "docker://"+registry+"/demo/busybox:1")
	h := startHost(t)

	manifest := func(name string) string {
		y := sandboxYAML(name, "echo up "+name+"; n=0; while sleep 0.2; do n=$((n+1)); echo tick $n; done")
		return strings.Replace(y, "docker-archive:"+busyboxArchive, registry+"/demo/busybox:1", 1)
	}
	outside := t.TempDir()
	for _, name := range []string{"copied", "moved"} {
		if err := os.WriteFile(filepath.Join(outside, name+".yaml"), []byte(manifest(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "cp", filepath.Join(outside, "copied.yaml"), h.folder)
	run(t, "mv", filepath.Join(outside, "moved.yaml"), h.folder)
	writeInTwoHalves(t, h.path("halves.yaml"), manifest("halves"))

	for _, name := range []string{"copied", "moved", "halves"} {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.t = t
			s := h.waitReady(name)
			if s.Status.Phase != manifests.PhaseRunning {
				t.Errorf("phase %s, want Running", s.Status.Phase)
			}
			if got := h.vzctlOK("exec", name, "--", "hostname"); got != name+"\n" {
				t.Errorf("hostname in the VM: %q, want %q", got, name)
			}
			if _, _, code := h.vzctl("exec", name, "--", "sh", "-c", "exit 42"); code != 42 {
				t.Errorf("exec's exit code is %d, want 42", code)
			}
			followsLog(t, &h, name)
		})
	}
	// A half-written file is no error once it is whole.
	if events := h.vzctlOK("events", "sandbox/halves"); strings.Contains(events, "InvalidManifest") {
		t.Errorf("the half-written file was reported:\n%s", events)
	}
}

// followsLog checks that `logs -f` shows what was printed before and goes on.
func followsLog(t *testing.T, h *host, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := h.command(ctx, "logs", "-f", name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	sc := bufio.NewScanner(out)
	ticks := 0
	for ticks < 5 && sc.Scan() {
		lines = append(lines, sc.Text())
		if strings.HasPrefix(sc.Text(), "tick ") {
			ticks++
		}
	}
	cancel()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if ticks < 5 || lines[0] != "up "+name {
		t.Errorf("the log does not follow: %q", lines)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// writeInTwoHalves writes in place, with a pause in the middle of a word.
func writeInTwoHalves(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	half := strings.Index(content, "containers:") + 5
	if _, err := f.WriteString(content[:half]); err != nil {
		t.Fatal(err)
	}
	// The pause is what is tested: a slow writer.
	<-time.After(300 * time.Millisecond)
	if _, err := f.WriteString(content[half:]); err != nil {
		t.Fatal(err)
	}
}

func TestEditsConvergeByTheirClass(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	yaml := sandboxYAML("web", "echo run; sleep infinity")
	h.write("web.yaml", yaml)
	first := h.waitReady("web")
	if first.Generation != 1 || first.Status.ObservedGeneration != 1 {
		t.Errorf("generation %d, observed %d, want 1", first.Generation, first.Status.ObservedGeneration)
	}

	t.Run("label edit restarts nothing", func(t *testing.T) {
		yaml = strings.Replace(yaml, "tier: one", "tier: two", 1)
		h.write("web.yaml", yaml)
		s := h.waitFor("web", "has the new label", func(s *manifests.Sandbox) error {
			if s.Labels["tier"] != "two" {
				return fmt.Errorf("labels %v", s.Labels)
			}
			return nil
		})
		if bootID(s) != bootID(first) || s.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("boot %s after %s, %d restarts", bootID(s), bootID(first), s.Status.ContainerStatuses[0].RestartCount)
		}
	})

	t.Run("resource edit recreates once", func(t *testing.T) {
		yaml = strings.Replace(yaml, "memory: 128Mi", "memory: 160Mi", 1)
		h.write("web.yaml", yaml)
		s := h.waitFor("web", "is Ready at generation 2", readyAt(2))
		if bootID(s) == bootID(first) {
			t.Error("the VM was not made anew")
		}
		// The log goes on across VMs: one line of each.
		h.waitLog("web", "run\nrun\n")
		started := countEvents(h, "web", "Ready")
		if started != 2 {
			t.Errorf("%d times Ready in all, want 2:\n%s", started, h.vzctlOK("events", "sandbox/web"))
		}
	})

	t.Run("image edit recreates", func(t *testing.T) {
		before := h.mustGet("web")
		other := filepath.Join(h.dir, "other.tar")
		run(t, "cp", busyboxArchive, other)
		yaml = strings.Replace(yaml, busyboxArchive, other, 1)
		h.write("web.yaml", yaml)
		s := h.waitFor("web", "is Ready at generation 3", readyAt(3))
		if bootID(s) == bootID(before) {
			t.Error("the VM was not made anew")
		}
	})

	t.Run("removed file leaves nothing", func(t *testing.T) {
		if len(h.processes()) == 0 {
			t.Fatal("no process of the sandbox is found: the check below would prove nothing")
		}
		h.remove("web.yaml")
		h.waitGone("web")
		if left := h.processes(); len(left) > 0 {
			t.Errorf("processes left: %v: %s", left, run(t, "ps", "-o", "pid,args", "-p", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(left)), ","), "[]")))
		}
		var files []string
		_ = filepath.Walk(filepath.Join(h.state, "sandboxes"), func(p string, fi os.FileInfo, err error) error {
			if err == nil && !fi.IsDir() {
				files = append(files, p)
			}
			return nil
		})
		if len(files) > 0 {
			t.Errorf("files left: %v", files)
		}
	})
}

// readyAt fits a sandbox that is Ready at a generation.
func readyAt(generation int64) func(*manifests.Sandbox) error {
	return func(s *manifests.Sandbox) error {
		status, reason, message := condition(s, manifests.ConditionReady)
		if s.Status.ObservedGeneration != generation || status != "True" {
			return fmt.Errorf("generation %d, observed %d, Ready=%s (%s: %s)", s.Generation, s.Status.ObservedGeneration, status, reason, message)
		}
		return nil
	}
}

// countEvents returns how often an event with a reason was recorded.
func countEvents(h *host, name, reason string) int {
	n := 0
	for _, e := range h.events(name) {
		if e.Reason == reason {
			n += e.Count
		}
	}
	return n
}

var errNotYet = errors.New("not yet")
