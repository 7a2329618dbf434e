package qemu_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// On a host whose KVM boots kernels the verdict is kvm, on any other tcg: what
// is promised is that the sandbox runs, and that the proof is made once.
func TestAutomaticAccelerationProvesItselfOnce(t *testing.T) {
	w := getWorld(t)
	w.cache = t.TempDir()
	auto := func(c *drivers.Configuration) { c.RuntimeData = nil }

	m := snapshot(t, boot(t, w.bundle(t, "default/one", "sleep 1000", auto))).Machine
	got := m.Accelerator
	t.Log(got, m.AcceleratorReason)
	if got != "kvm" && (got != "tcg" || m.AcceleratorReason == "") {
		t.Errorf("accelerator %q (%q), want kvm, or tcg with a reason", got, m.AcceleratorReason)
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return // nothing to prove
	}
	files, err := filepath.Glob(filepath.Join(w.cache, "accel-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("verdicts in the cache: %v, %v", files, err)
	}
	first, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var verdict struct{ Accelerator, Reason, Subject string }
	if err := json.Unmarshal(first, &verdict); err != nil || got != verdict.Accelerator || !strings.Contains(verdict.Subject, w.kernel.VMLinux) {
		t.Errorf("verdict %s, %v", first, err)
	}

	if again := snapshot(t, boot(t, w.bundle(t, "default/two", "sleep 1000", auto))).Machine.Accelerator; again != got {
		t.Errorf("accelerator %q, want that of the first, %q", again, got)
	}
	if second, err := os.ReadFile(files[0]); err != nil || string(second) != string(first) {
		t.Error("the verdict was found twice")
	}
}
