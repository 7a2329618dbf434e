package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// TestVolumesOfEveryKind shares folders and a file of the host's with one sandbox, and
// shows what the guest can do with them, and what it cannot; it has volumes of the other
// kinds besides.
func TestVolumesOfEveryKind(t *testing.T) {
	t.Parallel()
	allowed, outside := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // for the guest's users
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "secret"), "secret")
	write(filepath.Join(allowed, "src", "main"), "source")
	write(filepath.Join(allowed, "ro", "fixed"), "fixed")
	write(filepath.Join(allowed, "ro", "single"), "one file")
	for link, to := range map[string]string{"src/out": outside, "src/up": "../made", "escape": outside} {
		if err := os.Symlink(to, filepath.Join(allowed, link)); err != nil {
			t.Fatal(err)
		}
	}
	h := startHost(t, "--allow-host-paths", allowed)
	volume := func(name, path, typ string) string {
		return fmt.Sprintf("{name: %s, hostPath: {path: %s, type: %s}}", name, path, typ)
	}
	with := func(yaml, volumes, mounts string) string {
		return strings.NewReplacer("      containers:\n", "      volumes: ["+volumes+"]\n      containers:\n",
			"        command:", "        volumeMounts: ["+mounts+"]\n        command:").Replace(yaml)
	}
	h.write("web.yaml", with(sandboxYAML("web", "sleep infinity"),
		volume("src", filepath.Join(allowed, "src"), "Directory")+", "+volume("new", filepath.Join(allowed, "made/here"), "DirectoryOrCreate")+", "+
			volume("ro", filepath.Join(allowed, "ro"), `""`)+", "+volume("one", filepath.Join(allowed, "ro/single"), "File")+", "+
			"{name: all, projected: {defaultMode: 256, sources: [{configMap: {name: c, items: [{key: a, path: d/a}]}}, {secret: {name: s}}]}}, "+
			"{name: img, image: {reference: \"docker-archive:"+busyboxArchive+"\"}}, {name: small, emptyDir: {sizeLimit: 64Mi}}",
		"{name: all, mountPath: /all}, {name: img, mountPath: /img}, {name: small, mountPath: /small}, {name: src, mountPath: /src}, {name: new, mountPath: /new}, {name: ro, mountPath: /ro, readOnly: true}, {name: one, mountPath: /etc/one, readOnly: true}"))
	h.write("config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: config, b: unused}\n---\n"+
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: secret}\n")
	for name, path := range map[string]string{"outside": outside, "linked": filepath.Join(allowed, "escape")} {
		h.write(name+".yaml", with(sandboxYAML(name, "sleep infinity"), volume("v", path, `""`), "{name: v, mountPath: /v}"))
	}
	web := h.waitReady("web")

	script := `cat /src/main /ro/fixed /etc/one; echo
echo from the guest >/src/new && echo more >/new/file && mkdir /src/d && mv /src/new /src/d/ && chown 1000:1000 /src/d
cat /src/out/secret /src/up/here 2>&1 | grep -c 'No such'
(echo x >/ro/fixed) 2>&1 | grep -c 'Read-only'
mount -o remount,rw /ro 2>&1 | grep -c -e denied -e permitted -e must
(echo x >/etc/one) 2>&1 | grep -c 'Read-only'; ls /etc/one`
	if got, want := h.vzctlOK("exec", "web", "--", "sh", "-c", script), "sourcefixedone file\n2\n1\n1\n1\n/etc/one\n"; got != want {
		t.Errorf("in the guest: %q, want %q", got, want)
	}
	for path, want := range map[string]string{"src/d/new": "from the guest\n", "made/here/file": "more\n", "ro/fixed": "fixed"} {
		if got, err := os.ReadFile(filepath.Join(allowed, path)); err != nil || string(got) != want {
			t.Errorf("%s on the host: %q, %v; want %q", path, got, err, want)
		}
	}
	script = `cat /all/d/a /all/p; echo; find /all -type f | sort | tr '\n' ' '; stat -c %a /all/p
cmp /img/bin/busybox /bin/busybox && (echo x >/img/x) 2>&1 | grep -c 'Read-only'
dd if=/dev/zero of=/small/big bs=1M count=100 2>&1 | grep -c 'No space'; rm /small/big; echo kept >/small/kept; sync`
	if got, want := h.vzctlOK("exec", "web", "--", "sh", "-c", script), "configsecret\n/all/d/a /all/p 400\n1\n1\n"; got != want {
		t.Errorf("of the other kinds: %q, want %q", got, want)
	}
	h.waitFor("outside", "is refused", refusedWith("--allow-host-paths"))
	h.waitFor("linked", "is refused", refusedWith("escape"))

	// The folder's process dies: the VM, which would wait for it for ever, is ended and
	// comes back.
	if err := syscall.Kill(virtiofsdOf(t, h)[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitFor("web", "runs in another VM", func(s *manifests.Sandbox) error {
		if bootID(s) == bootID(web) {
			return errNotYet
		}
		return readyAt(1)(s)
	})
	if got := h.vzctlOK("exec", "web", "--", "cat", "/src/main", "/small/kept"); got != "sourcekept\n" {
		t.Errorf("after that: %q", got)
	}
	if got := h.vzctlOK("events", "web"); !strings.Contains(got, "shares a host folder ended") {
		t.Errorf("the events do not say why:\n%s", got)
	}

	h.remove("web.yaml")
	h.waitGone("web")
	h.eventually(soon, "nothing is shared any more", func() error {
		if left := virtiofsdOf(t, h); len(left) > 0 {
			return fmt.Errorf("virtiofsd %v", left)
		}
		return nil
	})
}

func refusedWith(text string) func(*manifests.Sandbox) error {
	return func(s *manifests.Sandbox) error {
		for _, c := range s.Status.Conditions {
			if strings.Contains(c.Message, text) {
				return nil
			}
		}
		return fmt.Errorf("conditions: %+v", s.Status.Conditions)
	}
}

// virtiofsdOf returns the processes of virtiofsd of a host's sandboxes.
func virtiofsdOf(t *testing.T, h *host) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, dir := range dirs {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || strings.TrimSpace(string(name)) != "virtiofsd" || !bytes.Contains(environ, []byte(h.dir)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
