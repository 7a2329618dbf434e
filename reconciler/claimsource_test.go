package reconciler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// written makes the disk of a claim's volume, as a runtime does.
func (w *world) written(name, text string) {
	w.t.Helper()
	v, err := w.m.volumes.Get("default", name)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(v.Disk(), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestClaimIsACopyOfAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		w.write("a.yaml", user("a", false))
		after(time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		w.written("data", "text")

		copied := strings.Replace(claimYAML("copied", "2Gi", "Retain", "ReadWriteOnce"), "spec: {", "spec: {dataSource: {kind: PersistentVolumeClaim, name: data}, ", 1)
		w.write("copied.yaml", copied)
		w.write("b.yaml", strings.Replace(user("b", false), "claimName: data", "claimName: copied", 1))
		after(10 * time.Second)
		w.wantPhase("b", manifests.PhasePending)
		w.wantEvent("b", "PrepareFailed")

		// Who writes to it is gone.
		w.remove("a.yaml")
		after(10 * time.Minute)
		w.wantPhase("b", manifests.PhaseRunning)
		v, err := w.m.volumes.Get("default", "copied")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(v.Disk()); err != nil || string(got) != "text" {
			t.Errorf("the copy holds %q, %v", got, err)
		}
		// The source is free again, and the copy is one's own.
		w.written("copied", "other")
		w.write("a.yaml", user("a", false))
		w.runtimes.kill(string(w.state.Bundle("default", "b")))
		after(time.Minute)
		w.wantPhase("a", manifests.PhaseRunning)
		w.wantPhase("b", manifests.PhaseRunning)
		if got, _ := os.ReadFile(v.Disk()); string(got) != "other" {
			t.Errorf("the copy was copied again: %q", got)
		}
	})
}

func TestPartOfACopyGoesWithTheNextDaemon(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		w.written("data", "text")
		v, err := w.m.volumes.Get("default", "data")
		if err != nil {
			t.Fatal(err)
		}
		part := filepath.Join(filepath.Dir(v.Disk()), ".disk.img.4711")
		if err := os.WriteFile(part, []byte("te"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.stop()
		w.start()
		if exists(part) || !exists(v.Disk()) {
			t.Errorf("the part is there: %t; the disk: %t", exists(part), exists(v.Disk()))
		}
	})
}
