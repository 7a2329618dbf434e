package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func claimYAML(size string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce, ReadOnlyMany]
  resources: {requests: {storage: %s}}
`, size)
}

// mounting adds a mount of the claim data to a sandbox of sandboxYAML.
func mounting(yaml string, readOnly bool) string {
	return strings.NewReplacer(
		"      containers:\n", fmt.Sprintf("      volumes: [{name: v, persistentVolumeClaim: {claimName: data, readOnly: %t}}]\n      containers:\n", readOnly),
		"        command:", "        volumeMounts: [{name: v, mountPath: /data}]\n        command:",
	).Replace(yaml)
}

// TestVolumeOutlivesWhatHappensToItsSandbox takes one volume through all that may
// become of the sandboxes with it.
func TestVolumeOutlivesWhatHappensToItsSandbox(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("claim.yaml", claimYAML("128Mi"))
	h.write("db.yaml", mounting(sandboxYAML("db", "sleep infinity"), false))
	db := h.waitReady("db")
	h.vzctlOK("exec", "db", "--", "sh", "-c", "echo kept >/data/file && sync /data/file && echo lost >/file")

	// A second one that writes must wait; it is told for whom.
	h.write("other.yaml", mounting(sandboxYAML("other", "cat /data/file; sleep infinity"), true))
	h.waitFor("other", "waits for the volume", func(s *manifests.Sandbox) error {
		if _, _, message := condition(s, manifests.ConditionSynced); !strings.Contains(message, "which Sandbox default/db uses now") {
			return fmt.Errorf("Synced: %s", message)
		}
		return nil
	})

	// Its VM is killed, and comes back with the volume.
	if err := syscall.Kill(db.Status.Runtime.HypervisorPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitFor("db", "runs in another VM", func(s *manifests.Sandbox) error {
		if bootID(s) == bootID(db) {
			return errNotYet
		}
		return readyAt(1)(s)
	})
	if got := h.vzctlOK("exec", "db", "--", "cat", "/data/file"); got != "kept\n" {
		t.Errorf("after the VM was killed the volume has %q", got)
	}

	// It is made anew, on a larger volume.
	h.write("claim.yaml", claimYAML("256Mi"))
	h.write("db.yaml", mounting(sandboxYAML("db", "sleep 1000000"), false))
	h.waitFor("db", "was made anew", readyAt(2))
	got := h.vzctlOK("exec", "db", "--", "sh", "-c", "cat /data/file; ls /file 2>&1 | grep -c 'No such'; df -m /data | tail -n 1 | awk '{print ($2 > 200)}'")
	if want := "kept\n1\n1\n"; got != want {
		t.Errorf("made anew: %q, want %q", got, want)
	}
	if got := h.vzctlOK("get", "pvc", "data"); !strings.Contains(got, "Bound") || !strings.Contains(got, "256Mi") {
		t.Errorf("the claim:\n%s", got)
	}

	// Another has it when the first is gone.
	h.remove("db.yaml")
	h.waitReady("other")
	h.waitLog("other", "kept\n")
	if out, errOut, code := h.vzctl("volume", "rm", "data"); code == 0 || !strings.Contains(errOut, "in use by default/other") {
		t.Errorf("removing a volume in use: exit code %d\n%s%s", code, out, errOut)
	}

	// It stays when its claim is gone, until it is removed.
	h.remove("other.yaml")
	h.waitGone("other")
	h.remove("claim.yaml")
	h.eventually(soon, "the claim is gone", func() error {
		if got := h.vzctlOK("volume", "list"); !strings.Contains(got, "Released") {
			return fmt.Errorf("volumes:\n%s", got)
		}
		return nil
	})
	h.vzctlOK("volume", "rm", "data")
	if got := h.vzctlOK("volume", "list", "-o", "json"); strings.Contains(got, `"name": "data"`) {
		t.Errorf("volumes after the removal: %s", got)
	}
}
