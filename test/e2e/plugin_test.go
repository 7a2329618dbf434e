package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// processHost is a host that is ready to start, with the example's plugin in the
// user's directory of plugins; it needs no VM.
func processHost(t *testing.T) *host {
	t.Helper()
	h := newHostAt(t, t.TempDir())
	t.Cleanup(h.cleanUp)
	h.installProcessPlugin("0.1.0")
	return h
}

// installProcessPlugin installs the example as its README says.
func (h *host) installProcessPlugin(version string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "make", "-C", filepath.Join(repo(h.t), "examples", "plugin-process"),
		"install", "VERSION="+version, "PLUGINS="+filepath.Join(h.state, "plugins"))
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("install the example: %v\n%s", err, out)
	}
}

func processYAML(name, command, vm string) string {
	return fmt.Sprintf(`apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: %s}
spec:
  podTemplate:
    spec:
      runtimeClassName: process
      terminationGracePeriodSeconds: 2
      containers:
      - name: main
        image: scratch
        command: [sh, -c, %q]
%s`, name, command, vm)
}

type pluginRow struct {
	Name, Version, Status, Path, Message string
	Sandboxes                            []string
}

// plugins returns what `vzctl plugin list` shows of a plugin, by version.
func (h *host) plugins(name string) map[string]pluginRow {
	h.t.Helper()
	var list struct{ Items []pluginRow }
	if err := json.Unmarshal([]byte(h.vzctlOK("plugin", "list", "-o", "json")), &list); err != nil {
		h.t.Fatal(err)
	}
	rows := map[string]pluginRow{}
	for _, p := range list.Items {
		if p.Name == name {
			rows[p.Version] = p
		}
	}
	return rows
}

func TestThirdPartyRuntimeRunsSandboxes(t *testing.T) {
	t.Parallel()
	h := processHost(t)
	h.start()
	h.write("web.yaml", processYAML("web", "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.1; done", ""))
	s := h.waitReady("web")
	if s.Status.Runtime.Name != "process" {
		t.Errorf("runtime %+v", s.Status.Runtime)
	}
	if out := h.vzctlOK("exec", "web", "--", "sh", "-c", "hostname; echo kept > /kept; cat /proc/1/comm"); out != "web\nruntime-process\n" {
		t.Errorf("exec: %q", out)
	}
	if out := h.vzctlOK("exec", "web", "--", "cat", "/kept"); out != "kept\n" {
		t.Errorf("the root does not keep what is written: %q", out)
	}
	if _, errOut, code := h.vzctl("exec", "web", "--", "touch", "/usr/mine"); code == 0 || !strings.Contains(errOut, "Read-only") {
		t.Errorf("the host's programs can be written: %d, %s", code, errOut)
	}
	if _, errOut, code := h.vzctl("exec", "-t", "web", "--", "true"); code == 0 || !strings.Contains(errOut, "not supported") {
		t.Errorf("a terminal, which it has not: %d, %s", code, errOut)
	}
	h.waitLog("web", "hello\n")

	// Another daemon finds it.
	h.kill()
	h.start()
	again := h.waitReady("web")
	if again.Status.Runtime.PluginPID != s.Status.Runtime.PluginPID {
		t.Error("the sandbox was started anew")
	}
	h.vzctlOK("stop", "web")
	h.waitLog("web", "hello\nbye\n")
	h.noneLeft()
	h.vzctlOK("start", "web")
	h.waitReady("web")
	h.remove("web.yaml")
	h.waitGone("web")
	h.noneLeft()
}

// noneLeft waits until no process is left: the daemon may just be asking a plugin
// whether it can be used.
func (h *host) noneLeft() {
	h.t.Helper()
	h.eventually(soon, "no process is left", func() error {
		if left := h.processes(); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

func TestWhatARuntimeCannotDoIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	h := processHost(t)
	h.start()
	manifest := processYAML("web", "sleep infinity", "  vm:\n    runtimeData:\n      share: [/srv, usr]\n      shared: []\n")
	h.write("web.yaml", manifest)
	h.eventually(soon, "the sandbox is stalled", func() error {
		s, err := h.get("web")
		if err != nil {
			return err
		}
		status, _, message := condition(s, "Stalled")
		if status != "True" || !strings.Contains(message, "spec.vm.runtimeData.share[1]") || !strings.Contains(message, "spec.vm.runtimeData.shared: unknown field") {
			return fmt.Errorf("Stalled is %q: %s", status, message)
		}
		return nil
	})
	if left, _ := filepath.Glob(filepath.Join(h.state, "sandboxes", "default", "web", "[rtl]*")); len(left) > 0 {
		t.Errorf("something was built: %v", left)
	}
	out, _, code := h.vzctl("validate", "-f", h.path("web.yaml"))
	for _, want := range []string{"web.yaml:15:21: ", "spec.vm.runtimeData.share[1]", "web.yaml:16:7: ", "spec.vm.runtimeData.shared: unknown field"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, out)
		}
	}
	// Mended, it runs.
	mended := strings.Replace(strings.Replace(manifest, "usr", "/usr", 1), "      shared: []\n", "", 1)
	h.write("web.yaml", mended)
	before := h.waitReady("web")
	// What is asked of it while it runs, and it cannot do, leaves it running.
	h.write("web.yaml", strings.Replace(mended, "spec:\n", "spec:\n  operatingMode: Paused\n", 1))
	h.eventually(soon, "the sandbox is stalled", func() error {
		s := h.mustGet("web")
		if status, _, message := condition(s, "Stalled"); status != "True" || !strings.Contains(message, "pause: not supported") {
			return fmt.Errorf("Stalled is %q: %s", status, message)
		}
		return nil
	})
	if after := h.mustGet("web"); after.Status.Phase != "Running" || after.Status.Runtime.PluginPID != before.Status.Runtime.PluginPID {
		t.Errorf("phase %s, runtime %+v", after.Status.Phase, after.Status.Runtime)
	}
}

func TestRunningSandboxKeepsItsPluginThroughAnUpgrade(t *testing.T) {
	t.Parallel()
	h := processHost(t)
	h.start()
	h.write("old.yaml", processYAML("old", "sleep infinity", ""))
	before := h.waitReady("old")
	h.installProcessPlugin("0.2.0")
	h.write("new.yaml", processYAML("new", "sleep infinity", ""))
	h.waitReady("new")

	check := func(t *testing.T, want map[string]string) {
		t.Helper()
		rows := h.plugins("process")
		for version, sandbox := range want {
			status := "replaced"
			if version == "0.2.0" {
				status = "ready"
			}
			if r := rows[version]; r.Status != status || strings.Join(r.Sandboxes, " ") != sandbox {
				t.Errorf("version %s: %+v, want %s, used by %s", version, r, status, sandbox)
			}
		}
		if len(rows) != len(want) {
			t.Errorf("plugins %+v", rows)
		}
	}
	check(t, map[string]string{"0.1.0": "default/old", "0.2.0": "default/new"})
	if after := h.mustGet("old"); after.Status.Runtime.PluginPID != before.Status.Runtime.PluginPID {
		t.Error("the upgrade disturbed a running sandbox")
	}
	h.vzctlOK("exec", "old", "--", "true")
	h.kill()
	h.start()
	h.waitReady("old")
	check(t, map[string]string{"0.1.0": "default/old", "0.2.0": "default/new"})
	h.vzctlOK("restart", "old")
	h.waitReady("old")
	check(t, map[string]string{"0.2.0": "default/new default/old"})
}

func TestThirdPartyRuntimeKeepsToTheContract(t *testing.T) {
	t.Parallel()
	h := processHost(t)
	dir := os.Getenv("VZ_REPORT_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := h.vzctl("plugin", "test", "process", "--parallel", "4", "--junit", filepath.Join(dir, "conformance-process.xml"))
	t.Logf("%s%s", out, errOut)
	if code != 0 || !strings.Contains(out, " 0 failed") {
		t.Errorf("exit code %d", code)
	}
	if err := os.WriteFile(filepath.Join(dir, "conformance-process.txt"), []byte(out), 0o600); err != nil {
		t.Error(err)
	}
}
