package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vzreconciler/vzreconciler/internal/imagebuild"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// debianImage puts an image together from Debian packages and what they depend
// on, downloaded once, and writes it as a docker archive.
func debianImage(t *testing.T, file string, config v1.Config, packages ...string) {
	t.Helper()
	cache := filepath.Join(repo(t), ".cache", "debs", "closure-"+strings.Join(packages, "-"))
	if _, err := os.Stat(filepath.Join(cache, "complete")); err != nil {
		if err := os.MkdirAll(cache, 0o755); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}, packages...)
		seen := map[string]bool{}
		var closure []string
		for line := range strings.Lines(run(t, "apt-cache", args...)) {
			p := strings.TrimSpace(line)
			// Names at the margin are the packages; virtual ones are in <>. What only
			// configures at installation is left out.
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "<") || strings.Contains(p, ":") || seen[p] {
				continue
			}
			seen[p] = true
			if strings.HasPrefix(p, "lib") || slices.Contains(packages, p) {
				closure = append(closure, p)
			}
		}
		cmd := exec.CommandContext(t.Context(), "apt-get", append([]string{"download", "-qq"}, closure...)...)
		cmd.Dir = cache
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apt-get download: %v\n%s", err, out)
		}
		if err := os.WriteFile(filepath.Join(cache, "complete"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	debs, _ := filepath.Glob(filepath.Join(cache, "*.deb"))
	for _, deb := range debs {
		run(t, "dpkg-deb", "-x", deb, root)
	}
	for _, d := range []string{"tmp", "etc", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc", "passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nredis:x:105:106::/var/lib/redis:/usr/sbin/nologin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := imagebuild.FromDir(root, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := imagebuild.WriteDockerArchive(file, "localhost/debian-software:latest", img); err != nil {
		t.Fatal(err)
	}
}

func TestRealSoftwareFromDebianPackages(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	archive := filepath.Join(h.dir, "redis.tar")
	debianImage(t, archive, v1.Config{
		Entrypoint:   []string{"/usr/bin/redis-server"},
		Cmd:          []string{"--save", "", "--bind", "127.0.0.1"},
		Env:          []string{"PATH=/usr/bin:/bin", "LANG=C"},
		WorkingDir:   "/tmp",
		StopSignal:   "SIGTERM",
		ExposedPorts: map[string]struct{}{"6379/tcp": {}},
	}, "redis-server", "redis-tools")
	h.write("redis.yaml", fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: redis}
spec:
  containers:
  - name: redis
    image: docker-archive:%s
    ports: [{containerPort: 6379}]
    resources: {limits: {memory: 128Mi}}
`, archive))
	h.waitReady("redis")
	h.eventually(60*time.Second, "redis answers", func() error {
		out, errOut, code := h.vzctl("exec", "redis", "--", "redis-cli", "ping")
		if code != 0 || out != "PONG\n" {
			return fmt.Errorf("exit code %d: %s%s", code, out, errOut)
		}
		return nil
	})
	h.vzctlOK("exec", "redis", "--", "redis-cli", "set", "key", "kept")
	if got := h.vzctlOK("exec", "redis", "--", "redis-cli", "get", "key"); got != "kept\n" {
		t.Errorf("redis-cli get: %q", got)
	}
	if log := h.vzctlOK("logs", "redis"); !strings.Contains(log, "Ready to accept connections") {
		t.Errorf("log:\n%s", log)
	}
	// Its stop signal ends it in good order, well within the grace period.
	h.vzctlOK("stop", "redis")
	if log := h.vzctlOK("logs", "redis"); !strings.Contains(log, "bye bye") {
		t.Errorf("redis was not ended by its stop signal:\n%s", log)
	}
}

func TestFourAtOnce(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	for i := range 4 {
		h.write(fmt.Sprintf("s%d.yaml", i), sandboxYAML(fmt.Sprintf("s%d", i), "echo run; sleep infinity"))
	}
	for i := range 4 {
		name := fmt.Sprintf("s%d", i)
		h.waitReady(name)
		h.waitLog(name, "run\n")
		if n := countEvents(h, name, "Ready"); n != 1 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
}

// TestTwentyAtOnceOnFakeDriver drops many at once on real plugin processes whose
// machines are made up.
func TestTwentyAtOnceOnFakeDriver(t *testing.T) {
	t.Parallel()
	const n = 20
	plugin := filepath.Join(t.TempDir(), "runtime-fake")
	run(t, "go", "build", "-o", filepath.Join(plugin, "bin", "runtime-fake"), "../../plugins/runtime-fake")
	run(t, "cp", "../../plugins/runtime-fake/plugin.yaml", plugin)
	run(t, "chmod", "-R", "go-w", plugin)
	h := startHost(t, "--plugin-dir", filepath.Dir(plugin))
	outside := t.TempDir()
	for i := range n {
		y := sandboxYAML(fmt.Sprintf("s%02d", i), "sleep 3600")
		y = strings.Replace(y, "    spec:\n", "    spec:\n      runtimeClassName: fake\n", 1)
		if err := os.WriteFile(filepath.Join(outside, fmt.Sprintf("s%02d.yaml", i)), []byte(y), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "cp", "-R", outside+"/.", h.folder)
	h.eventually(soon, "all are known", func() error {
		if got := strings.Count(h.vzctlOK("get", "sandboxes", "-o", "name"), "\n"); got != n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
	h.vzctlOK("wait", "--for=condition=Ready", "sandbox", "--all", "--timeout=90s")
	if got := len(h.processes()); got != n {
		t.Errorf("%d plugin processes for %d sandboxes", got, n)
	}
	for i := range n {
		name := fmt.Sprintf("s%02d", i)
		s := h.mustGet(name)
		if c := s.Status.ContainerStatuses[0]; c.RestartCount != 0 || countEvents(h, name, "Ready") != 1 {
			t.Errorf("%s was started more than once: %d restarts\n%s", name, c.RestartCount, h.vzctlOK("events", "sandbox/"+name))
		}
	}
}

func TestMetricsPassPromtool(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", "sleep infinity"))
	h.waitReady("web")
	metrics := h.scrape()
	for _, want := range []string{
		`vzreconciler_sandboxes{phase="Running"} 1`,
		`vzreconciler_sandbox_ready{name="web",namespace="default"} 1`,
		"vzreconciler_convergence_seconds_count 1",
		"vzreconciler_reconcile_total{",
		"workqueue_depth{",
		"process_resident_memory_bytes",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(repo(t), ".cache", "root", "usr", "bin", "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestExamplesRun(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	examples := filepath.Join(repo(t), "examples")
	run(t, "cp", "-R", filepath.Join(examples, "image"), h.dir)
	for _, dir := range []string{"quickstart", "manifests"} {
		run(t, "cp", "-R", filepath.Join(examples, dir)+"/.", h.folder)
	}
	h.start()
	h.vzctlOK("wait", "--for=condition=Ready", "sandbox", "hello", "web", "agent", "counter", "--timeout=240s")
	h.eventually(soon, "hello says hello", func() error {
		if got := h.vzctlOK("logs", "hello"); !strings.HasPrefix(got, "hello from hello, Linux ") {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
	if got := h.vzctlOK("exec", "web", "--", "wget", "-qO-", "http://127.0.0.1:8080/"); !strings.Contains(got, "served from a ConfigMap") {
		t.Errorf("web serves %q", got)
	}
	if got := h.vzctlOK("exec", "web", "--", "sh", "-c", "echo $TOKEN"); got != "change-me\n" {
		t.Errorf("web's token is %q", got)
	}
	if got := h.vzctlOK("exec", "agent", "--", "id", "-u"); got != "65534\n" {
		t.Errorf("agent runs as %q", got)
	}
	h.waitLog("counter", "start number 1\n")
	h.eventually(soon, "reader reads page", func() error {
		if got := h.vzctlOK("logs", "reader"); !strings.Contains(got, "read over the network") {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
	h.wantWorkloadExamples()
	if db, shop := h.mustGet("db"), h.mustGet("shop"); shop.Status.StartTime.Before(db.Status.StartTime) {
		t.Errorf("shop started at %s, before db at %s", shop.Status.StartTime, db.Status.StartTime)
	}
	// A secret is nowhere on the disk, in a log or in a status.
	if out, err := exec.CommandContext(t.Context(), "grep", "-rlF", "change-me", h.state).CombinedOutput(); err == nil {
		t.Errorf("the secret is in %s", out)
	}
	if out := h.vzctlOK("get", "all", "-o", "yaml"); strings.Contains(out, "change-me") {
		t.Error("the secret is in the status")
	}
	// Each is one line to change away from a cluster, and valid as it stands.
	for _, s := range []string{"hello", "web", "agent", "counter"} {
		if p := h.mustGet(s).Status.Phase; p != manifests.PhaseRunning {
			t.Errorf("%s is %s", s, p)
		}
	}
}
