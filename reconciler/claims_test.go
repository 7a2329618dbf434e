package reconciler

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

func claimYAML(name, size, policy string, modes ...string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s, annotations: {vzreconciler.dev/reclaim-policy: %s}}
spec: {accessModes: [%s], resources: {requests: {storage: %s}}}
`, name, policy, strings.Join(modes, ", "), size)
}

// user is a sandbox that mounts the claim data.
func user(name string, readOnly bool) string {
	return podLike(name, fmt.Sprintf("volumes: [{name: v, persistentVolumeClaim: {claimName: data, readOnly: %t}}]", readOnly),
		"volumeMounts: [{name: v, mountPath: /data}]")
}

func (w *world) claim(name string) *view {
	return w.m.lookup(claimKey("default", name))
}

// hasVolume reports whether a claim's volume is there.
func (w *world) hasVolume(name string) bool {
	_, err := w.m.volumes.Get("default", name)
	return err == nil
}

func (w *world) phase(name string) manifests.Phase { return w.status(name).Phase }

func TestSandboxWaitsForItsClaim(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", user("a", false))
		after(time.Second)
		w.wantPhase("a", manifests.PhasePending)
		w.wantCondition("a", manifests.ConditionSynced, "False", ReasonReferenceMissing, "PersistentVolumeClaim default/data")

		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		after(time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		var cfg drivers.Configuration
		if err := state.ReadJSON(w.state.Bundle("default", "a").ConfigurationFile(), &cfg); err != nil {
			t.Fatal(err)
		}
		d := cfg.Volumes[0].Disk
		if d == nil || !strings.HasPrefix(d.Path, w.state.Volumes()) || d.SizeBytes != 1<<30 || d.ReadOnly {
			t.Errorf("the volume's disk is %+v", d)
		}
		if st := w.claim("data").claim; st.Phase != corev1.ClaimBound || st.Capacity.Storage().Value() != 1<<30 {
			t.Errorf("the claim's status is %+v", st)
		}
	})
}

func TestOneWriterOrManyReaders(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce", "ReadOnlyMany"))
		w.write("a.yaml", user("a", false))
		after(time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		w.write("b.yaml", user("b", false))
		w.write("c.yaml", user("c", true))
		after(time.Second)
		for _, name := range []string{"b", "c"} {
			w.wantPhase(name, manifests.PhasePending)
			w.wantCondition(name, manifests.ConditionSynced, "False", ReasonReferenceMissing, "which Sandbox default/a uses now")
		}

		// Another daemon knows who has it, too.
		w.stop()
		w.start()
		after(time.Second)
		w.wantPhase("b", manifests.PhasePending)

		w.remove("a.yaml")
		after(10 * time.Second)
		b, c := w.phase("b"), w.phase("c")
		if (b == manifests.PhaseRunning) == (c == manifests.PhaseRunning) {
			t.Fatalf("b is %s and c is %s, want one of them running", b, c)
		}

		w.remove("b.yaml")
		w.write("d.yaml", user("d", true))
		after(10 * time.Second)
		w.wantPhase("c", manifests.PhaseRunning)
		w.wantPhase("d", manifests.PhaseRunning)
	})
}

func TestSandboxKeepsItsClaimWhileItsVMIsMadeAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		w.write("a.yaml", user("a", false))
		after(time.Second)
		w.write("b.yaml", user("b", false))
		for range 3 {
			w.runtimes.kill(string(w.state.Bundle("default", "a")))
			after(time.Minute)
			w.wantPhase("a", manifests.PhaseRunning)
			w.wantPhase("b", manifests.PhasePending)
		}
		w.write("a.yaml", strings.Replace(user("a", false), "app:1", "app:2", 1))
		after(10 * time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		w.wantPhase("b", manifests.PhasePending)
		if n := w.runtimes.launched("a"); n != 5 {
			t.Errorf("%d VMs were started, want 5", n)
		}
	})
}

func TestSandboxThatIsStoppedLeavesItsClaimToOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		w.write("a.yaml", user("a", false))
		after(time.Second)
		w.write("b.yaml", user("b", false))
		w.write("a.yaml", strings.Replace(user("a", false), "spec:\n", "spec:\n  operatingMode: Suspended\n", 1))
		after(10 * time.Second)
		w.wantPhase("a", manifests.PhaseStopped)
		w.wantPhase("b", manifests.PhaseRunning)
	})
}

func TestReadersOnlyClaimTakesNoWriter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadOnlyMany"))
		w.write("a.yaml", user("a", false))
		after(time.Second)
		w.wantPhase("a", manifests.PhasePending)
		w.wantCondition("a", manifests.ConditionSynced, "False", ReasonReferenceMissing, "mount it with readOnly: true")
	})
}

func TestVolumeOutlivesItsClaimUnlessItSaysOtherwise(t *testing.T) {
	for policy, stays := range map[string]bool{"Retain": true, "Delete": false} {
		t.Run(policy, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.write("data.yaml", claimYAML("data", "1Gi", policy, "ReadWriteOnce"))
				w.write("a.yaml", user("a", false))
				after(time.Second)
				w.wantPhase("a", manifests.PhaseRunning)
				w.remove("data.yaml")
				after(10 * time.Second)
				// Who has it goes on.
				w.wantPhase("a", manifests.PhaseRunning)
				if !w.hasVolume("data") {
					t.Fatal("the volume was removed while it was in use")
				}
				w.remove("a.yaml")
				after(10 * time.Second)
				if got := w.hasVolume("data"); got != stays {
					t.Errorf("the volume is there: %t, want %t", got, stays)
				}
			})
		})
	}
}

// A migration runs to its end on the volume before the sandbox that goes on with
// it, also when both are to be made anew at once.
func TestSandboxGivesItsVolumeToWhatItWaitsFor(t *testing.T) {
	ends := func(manifest string) string {
		return strings.NewReplacer("    spec:\n", "    spec:\n      restartPolicy: Never\n", "[serve]", "[sh, -c, exit 0]").Replace(manifest)
	}
	first := ends(user("first", false))
	middle := dependent(ends(sandbox("middle")), "{name: first, condition: Completed}")
	next := func(manifest string) string { return strings.Replace(manifest, "app:1", "app:2", 1) }
	for name, on := range map[string]string{"at once": "first", "by way of another": "middle"} {
		last := dependent(user("last", false), "{name: "+on+", condition: Completed}")
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.files["data.yaml"] = claimYAML("data", "1Gi", "Retain", "ReadWriteOnce")
				w.files["first.yaml"], w.files["middle.yaml"], w.files["last.yaml"] = first, middle, last
				w.look()
				after(time.Minute)
				w.wantPhase("last", manifests.PhaseRunning)

				// An image that is not there takes nothing down.
				w.images.fail("example.com/app:2", images.ErrNotFound)
				w.files["first.yaml"], w.files["middle.yaml"], w.files["last.yaml"] = next(first), next(middle), last
				w.look()
				after(time.Minute)
				w.wantPhase("last", manifests.PhaseRunning)
				w.images.fail("example.com/app:2", nil)
				after(10 * time.Minute)
				w.wantPhase("last", manifests.PhaseRunning)
				w.wantCondition("first", manifests.ConditionSynced, "False", ReasonReferenceMissing, "which Sandbox default/last uses now")

				w.files["last.yaml"] = next(last)
				w.look()
				after(time.Minute)
				w.wantPhase("first", manifests.PhaseSucceeded)
				w.wantPhase("last", manifests.PhaseRunning)
				for _, name := range []string{"first", "last"} {
					if n := w.runtimes.launched(name); n != 2 {
						t.Errorf("%s: %d VMs were started, want 2", name, n)
					}
				}
			})
		})
	}
}

func TestClaimTemplateMakesAVolumeOfItsOwn(t *testing.T) {
	for policy, stays := range map[string]bool{"Retain": true, "Delete": false} {
		t.Run(policy, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				template := fmt.Sprintf("  volumeClaimTemplates: [{metadata: {name: data, annotations: {vzreconciler.dev/reclaim-policy: %s}}, "+
					"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]\n", policy)
				w.write("a.yaml", strings.Replace(sandbox("a", "volumeMounts: [{name: data, mountPath: /data}]"), "spec:\n", "spec:\n"+template, 1))
				after(time.Second)
				w.wantPhase("a", manifests.PhaseRunning)
				if !w.hasVolume("data-a") {
					t.Fatal("there is no volume data-a")
				}
				w.remove("a.yaml")
				after(10 * time.Second)
				if got := w.hasVolume("data-a"); got != stays {
					t.Errorf("the volume is there: %t, want %t", got, stays)
				}
			})
		})
	}
}

func TestClaimGrowsAndDoesNotShrink(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		v, err := w.m.volumes.Get("default", "data")
		if err != nil {
			t.Fatal(err)
		}
		// As the runtime makes it.
		if err := os.WriteFile(v.Disk(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(v.Disk(), 1<<30); err != nil {
			t.Fatal(err)
		}
		w.write("data.yaml", claimYAML("data", "2Gi", "Retain", "ReadWriteOnce"))
		st := w.claim("data").claim
		if st.Capacity.Storage().Value() != 1<<30 || len(st.Conditions) != 1 || st.Conditions[0].Type != corev1.PersistentVolumeClaimFileSystemResizePending {
			t.Errorf("status of a claim that is to grow: %+v", st)
		}
		w.write("data.yaml", claimYAML("data", "1Gi", "Retain", "ReadWriteOnce"))
		if p := w.claim("data").problem; p == nil || p.Reason != ReasonVolumeShrinks || !strings.Contains(p.Message, "the volume has 2Gi, and 1Gi") {
			t.Errorf("problem of a claim that is to shrink: %+v", p)
		}
		news := w.m.hub.watch()
		defer w.m.hub.unwatch(news)
		w.look()
		after(10 * time.Minute)
		if key, _, ok := news.take(); ok {
			t.Errorf("a look that finds nothing new tells of %s", key)
		}
		w.write("data.yaml", claimYAML("data", "3Gi", "Retain", "ReadWriteOnce"))
		if p := w.claim("data").problem; p != nil {
			t.Errorf("problem that stays: %+v", p)
		}
	})
}
