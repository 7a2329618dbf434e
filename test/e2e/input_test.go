package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/internal/imagebuild"
	"github.com/vzreconciler/vzreconciler/manifests"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// event is one row of `vzctl events -o json`.
type event struct {
	Type, Reason, Message string
	Count                 int
}

func (h *host) events(name string) []event {
	h.t.Helper()
	var list struct {
		Items []event `json:"items"`
	}
	if err := json.Unmarshal([]byte(h.vzctlOK("events", "sandbox/"+name, "-o", "json")), &list); err != nil {
		h.t.Fatal(err)
	}
	return list.Items
}

func TestBrokenEditKeepsSandboxRunning(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	good := sandboxYAML("web", "sleep infinity")
	h.write("web.yaml", good)
	before := h.waitReady("web")

	broken := strings.Replace(good, "        image:", "        imagee:", 1)
	above, _, _ := strings.Cut(broken, "imagee")
	line := 1 + strings.Count(above, "\n")
	h.write("web.yaml", broken)
	place := fmt.Sprintf("web.yaml:%d:9", line)
	s := h.waitFor("web", "is not Synced", func(s *manifests.Sandbox) error {
		if status, _, _ := condition(s, manifests.ConditionSynced); status != "False" {
			return errNotYet
		}
		return nil
	})
	if _, _, message := condition(s, manifests.ConditionSynced); !strings.Contains(message, place) || !strings.Contains(message, "image") {
		t.Errorf("Synced's message %q does not name %s", message, place)
	}
	if bootID(s) != bootID(before) || s.Status.Phase != manifests.PhaseRunning {
		t.Errorf("phase %s, boot %s after %s", s.Status.Phase, bootID(s), bootID(before))
	}
	if out := h.vzctlOK("get", "sandbox", "web", "-o", "wide"); !strings.Contains(out, place) {
		t.Errorf("get does not name %s:\n%s", place, out)
	}
	if out := h.vzctlOK("describe", "sandbox", "web"); !strings.Contains(out, place) {
		t.Errorf("describe does not name %s:\n%s", place, out)
	}
	found := false
	for _, e := range h.events("web") {
		found = found || (e.Type == "Warning" && strings.Contains(e.Message, place))
	}
	if !found {
		t.Errorf("no event names %s", place)
	}
	if m := h.scrape(); !regexp.MustCompile(`(?m)^vzreconciler_source_errors\{.*\} [1-9]`).MatchString(m) {
		t.Error("the metric vzreconciler_source_errors does not count it")
	}

	// Not even a daemon that never saw the good file takes it down.
	h.kill()
	h.start()
	if s := h.mustGet("web"); bootID(s) != bootID(before) {
		t.Error("the daemon's restart on a broken file took the sandbox down")
	}

	h.write("web.yaml", good)
	s = h.waitFor("web", "is Synced again", func(s *manifests.Sandbox) error {
		if status, _, _ := condition(s, manifests.ConditionSynced); status != "True" {
			return errNotYet
		}
		return nil
	})
	if bootID(s) != bootID(before) || s.Generation != 1 {
		t.Errorf("mended: boot %s after %s, generation %d", bootID(s), bootID(before), s.Generation)
	}
}

func TestVanishedFolderDeletesNothing(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", "sleep infinity"))
	before := h.waitReady("web")
	away := h.folder + ".away"
	if err := os.Rename(h.folder, away); err != nil {
		t.Fatal(err)
	}
	h.eventually(soon, "the missing folder is reported", func() error {
		if out := h.vzctlOK("system", "status"); !strings.Contains(out, "manifests") || !strings.Contains(out, "does not exist") {
			return fmt.Errorf("status says\n%s", out)
		}
		return nil
	})
	if s := h.mustGet("web"); bootID(s) != bootID(before) || s.Status.Phase != manifests.PhaseRunning {
		t.Errorf("phase %s, boot %s after %s", s.Status.Phase, bootID(s), bootID(before))
	}
	if err := os.Rename(away, h.folder); err != nil {
		t.Fatal(err)
	}
	h.vzctlOK("wait", "--for=condition=Synced", "sandbox/web", "--timeout=60s")
}

func TestBadInputIsAClearError(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("good.yaml", sandboxYAML("good", "sleep infinity"))
	good := h.waitReady("good")

	dead, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadAddr := dead.Addr().String()
	_ = dead.Close()
	registry := startRegistry(t)

	truncated := filepath.Join(h.dir, "truncated.tar")
	data, err := os.ReadFile(busyboxArchive)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(truncated, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	evil := filepath.Join(h.dir, "evil.tar")
	img, err := imagebuild.FromFiles([]imagebuild.File{{Path: "../../escaped", Mode: 0o644, Data: []byte("x")}}, v1.Config{Cmd: []string{"/x"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := imagebuild.WriteDockerArchive(evil, "localhost/evil:latest", img); err != nil {
		t.Fatal(err)
	}

	// Found when the manifest is read.
	rejected := map[string]struct{ edit, want string }{
		"zero-memory": {"memory: 0", "memory"},
		"long-name":   {"name: " + strings.Repeat("n", 300), "name"},
		"hostport":    {"hostPort", "needs a network"},
	}
	for name, tc := range rejected {
		t.Run(name, func(t *testing.T) {
			y := sandboxYAML(name, "sleep infinity")
			switch name {
			case "zero-memory":
				y = strings.Replace(y, "memory: 128Mi", tc.edit, 1)
			case "long-name":
				y = strings.Replace(y, "name: "+name, tc.edit, 1)
			case "hostport":
				y = strings.Replace(y, "        command:", "        ports: [{containerPort: 80, hostPort: 8080}]\n        command:", 1)
			}
			file := name + ".yaml"
			h.write(file, y)
			defer h.remove(file)
			h.eventually(soon, "the error is in system status", func() error {
				out := h.vzctlOK("system", "status")
				if !regexp.MustCompile(regexp.QuoteMeta(file)+`:\d+:\d+`).MatchString(out) || !strings.Contains(out, tc.want) {
					return fmt.Errorf("status says\n%s", out)
				}
				return nil
			})
			if out, _, code := h.vzctl("validate", "-f", h.path(file)); code != 1 || !strings.Contains(out, tc.want) {
				t.Errorf("validate: exit code %d: %s", code, out)
			}
		})
	}

	// Found on the way up.
	for name, tc := range map[string]struct{ image, want string }{
		"unknown-image":        {registry + "/no/such:1", "no/such"},
		"unreachable-registry": {deadAddr + "/demo/busybox:1", "refused"},
		"truncated-archive":    {"docker-archive:" + truncated, "truncated.tar"},
		"layer-escapes":        {"docker-archive:" + evil, "../../escaped"},
		"no-such-archive":      {"docker-archive:" + filepath.Join(h.dir, "none.tar"), "none.tar"},
	} {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.t = t
			h.write(name+".yaml", strings.Replace(sandboxYAML(name, "sleep infinity"), "docker-archive:"+busyboxArchive, tc.image, 1))
			s := h.waitFor(name, "says what is wrong with its image", func(s *manifests.Sandbox) error {
				if status, _, _ := condition(s, manifests.ConditionImageReady); status != "False" {
					return errNotYet
				}
				if _, _, m := condition(s, manifests.ConditionImageReady); !strings.Contains(m, tc.want) {
					return fmt.Errorf("message %q", m)
				}
				return nil
			})
			if s.Status.Phase != manifests.PhasePending {
				t.Errorf("phase %s, want Pending", s.Status.Phase)
			}
			h.remove(name + ".yaml")
			h.waitGone(name)
		})
	}
	if _, err := os.Stat(filepath.Join(h.state, "escaped")); err == nil {
		t.Error("a layer wrote outside its root")
	}
	if s := h.mustGet("good"); bootID(s) != bootID(good) || s.Status.Phase != manifests.PhaseRunning {
		t.Error("the good sandbox did not survive its neighbours")
	}
}

func TestHostWithoutKernelOrQEMUSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	t.Run("kernel", func(t *testing.T) {
		h := newHost(t)
		if err := os.RemoveAll(filepath.Join(h.state, "kernels")); err != nil {
			t.Fatal(err)
		}
		h.start()
		h.write("web.yaml", sandboxYAML("web", "sleep infinity"))
		h.waitFor("web", "asks for a kernel", asksFor("vzctl kernel install"))
		h.vzctlOK("kernel", "install", "--deb", kernelDeb(t))
		h.waitReady("web")
	})
	t.Run("QEMU", func(t *testing.T) {
		h := newHost(t)
		h.env = []string{"PATH=" + t.TempDir()}
		h.start()
		h.write("web.yaml", sandboxYAML("web", "sleep infinity"))
		h.waitFor("web", "asks for QEMU", asksFor("qemu-system"))
	})
}

func asksFor(what string) func(*manifests.Sandbox) error {
	return func(s *manifests.Sandbox) error {
		_, _, message := condition(s, manifests.ConditionReady)
		if !strings.Contains(message, what) {
			return fmt.Errorf("Ready says %q", message)
		}
		return nil
	}
}

func TestFullDiskWhileUnpackingLosesNothing(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a small filesystem can be mounted by root only")
	}
	h := newHost(t)
	small := filepath.Join(h.state, "images")
	if err := os.MkdirAll(small, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", small)
	t.Cleanup(func() { _ = exec.CommandContext(t.Context(), "umount", "-l", small).Run() })
	h.start()
	h.write("web.yaml", sandboxYAML("web", "sleep infinity"))
	h.waitFor("web", "names the full disk", func(s *manifests.Sandbox) error {
		_, _, m := condition(s, manifests.ConditionImageReady)
		if !strings.Contains(m, "space") {
			return fmt.Errorf("ImageReady says %q", m)
		}
		return nil
	})
	run(t, "mount", "-o", "remount,size=600m", small)
	h.waitReady("web")
	h.remove("web.yaml")
	h.waitGone("web")
	h.stop()
	run(t, "umount", small)
}
