package reconciler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// setWithClaims is a set of which each sandbox has a volume data.
func setWithClaims(replicas int, size, whenDeleted, whenScaled string) string {
	text := set("db", "app:1", fmt.Sprintf("replicas: %d", replicas),
		fmt.Sprintf("persistentVolumeClaimRetentionPolicy: {whenDeleted: %s, whenScaled: %s}", whenDeleted, whenScaled),
		fmt.Sprintf("volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: %s}}}}]", size))
	return strings.Replace(text, "command: [serve]", "command: [serve], volumeMounts: [{name: data, mountPath: /data}]", 1)
}

// diskOf is the size that a sandbox's first volume was started with.
func (w *world) diskOf(name string) int64 {
	w.t.Helper()
	var cfg drivers.Configuration
	if err := state.ReadJSON(w.state.Bundle("default", name).ConfigurationFile(), &cfg); err != nil {
		w.t.Fatal(err)
	}
	if len(cfg.Volumes) != 1 || cfg.Volumes[0].Disk == nil {
		w.t.Fatalf("the volumes of %s: %+v", name, cfg.Volumes)
	}
	return cfg.Volumes[0].Disk.SizeBytes
}

func TestEachSandboxOfASetHasAVolumeOfItsOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("db.yaml", setWithClaims(2, "1Gi", "Retain", "Retain"))
		after(10 * time.Second)
		w.wantSet("db", 2, 2, 2)
		for _, name := range []string{"data-db-0", "data-db-1"} {
			if !w.hasVolume(name) {
				t.Fatalf("there is no volume %s", name)
			}
		}
		w.write("db.yaml", strings.Replace(setWithClaims(2, "1Gi", "Retain", "Retain"), "app:1", "app:2", 1))
		after(time.Minute)
		w.wantSet("db", 2, 2, 2)
		if got := w.image("db-0"); got != "app:2" || w.diskOf("db-0") != 1<<30 {
			t.Errorf("after the roll-out: image %s, %d bytes", got, w.diskOf("db-0"))
		}
	})
}

func TestVolumesOfASetGoAsItSays(t *testing.T) {
	for _, c := range []struct {
		whenDeleted, whenScaled string
		scaled, deleted         string // volumes that are left
	}{
		{"Retain", "Retain", "data-db-0 data-db-1", "data-db-0 data-db-1"},
		{"Retain", "Delete", "data-db-0", "data-db-0"},
		{"Delete", "Retain", "data-db-0 data-db-1", "data-db-1"},
		{"Delete", "Delete", "data-db-0", ""},
	} {
		t.Run(c.whenDeleted+" "+c.whenScaled, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				left := func(want string) {
					t.Helper()
					var names []string
					for _, name := range []string{"data-db-0", "data-db-1"} {
						if w.hasVolume(name) {
							names = append(names, name)
						}
					}
					if got := strings.Join(names, " "); got != want {
						t.Errorf("left are %q, want %q", got, want)
					}
				}
				w.write("db.yaml", setWithClaims(2, "1Gi", c.whenDeleted, c.whenScaled))
				after(10 * time.Second)
				w.wantSet("db", 2, 2, 2)
				if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Kind: "pod", Name: "db-0"}}); err != nil {
					t.Fatal(err)
				}
				after(time.Minute)
				left("data-db-0 data-db-1") // for it is made again
				w.write("db.yaml", setWithClaims(1, "1Gi", c.whenDeleted, c.whenScaled))
				after(time.Minute)
				w.wantSet("db", 1, 1, 1)
				left(c.scaled)
				w.remove("db.yaml")
				after(time.Minute)
				w.wantNothingLeft()
				left(c.deleted)
			})
		})
	}
}

func TestVolumesOfASetGrow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("db.yaml", setWithClaims(1, "1Gi", "Retain", "Retain"))
		after(10 * time.Second)
		w.write("db.yaml", setWithClaims(1, "2Gi", "Retain", "Retain"))
		after(10 * time.Second)
		w.wantSet("db", 1, 1, 1)
		if n := w.runtimes.launched("db-0"); n != 1 {
			t.Errorf("%d VMs were started, want 1: a size is no reason to start anew", n)
		}
		w.runtimes.kill(string(w.state.Bundle("default", "db-0")))
		after(time.Minute)
		w.wantSet("db", 1, 1, 1)
		if got := w.diskOf("db-0"); got != 2<<30 {
			t.Errorf("after the next start the volume has %d bytes", got)
		}

		other := strings.Replace(setWithClaims(1, "2Gi", "Retain", "Retain"), "{name: data}, spec", "{name: more}, spec", 1)
		w.write("db.yaml", strings.Replace(other, "{name: data, mount", "{name: more, mount", 1))
		after(10 * time.Second)
		w.wantWorkload(manifests.KindStatefulSet, "db", manifests.ConditionSynced, "False", ReasonImmutableField, "only sizes and metadata can be changed")
	})
}

// ephemeral is a sandbox with an ephemeral volume v.
func ephemeral(name string) string {
	return podLike(name, "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}]",
		"volumeMounts: [{name: v, mountPath: /v}]")
}

func TestEphemeralVolumeGoesWithItsSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", ephemeral("a"))
		after(time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		if !w.hasVolume("a-v") || w.diskOf("a") != 1<<30 {
			t.Error("there is no volume a-v")
		}
		w.remove("a.yaml")
		after(10 * time.Second)
		if w.hasVolume("a-v") {
			t.Error("the volume is left")
		}
	})
}

func TestEphemeralVolumeGoesThoughItsSandboxComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.IgnoreSignals = true
		w.write("a.yaml", ephemeral("a"))
		after(time.Second)
		w.written("a-v", "the first one's")
		w.remove("a.yaml")
		w.wantPhase("a", manifests.PhaseStopping)
		w.write("a.yaml", ephemeral("a"))
		after(time.Minute)
		w.wantPhase("a", manifests.PhaseRunning)
		v, err := w.m.volumes.Get("default", "a-v")
		if err != nil {
			t.Fatal(err)
		}
		if size, _, err := v.Usage(); size != 0 || err != nil {
			t.Errorf("the second one's volume has %d bytes, %v", size, err)
		}
	})
}

func TestEphemeralVolumeGoesWhenItIsNotInTheManifestAnyMore(t *testing.T) {
	for name, suspended := range map[string]string{"while it runs": "", "while it is suspended": "  operatingMode: Suspended\n"} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				suspend := func(manifest string) string { return strings.Replace(manifest, "spec:\n", "spec:\n"+suspended, 1) }
				w.write("a.yaml", ephemeral("a"))
				after(time.Second)
				w.write("a.yaml", suspend(ephemeral("a")))
				after(time.Minute)
				if !w.hasVolume("a-v") {
					t.Error("the volume is gone")
				}
				w.write("a.yaml", suspend(sandbox("a")))
				after(time.Minute)
				if w.hasVolume("a-v") {
					t.Error("the volume is left")
				}
			})
		})
	}
}

func TestEphemeralVolumeTakesNoOthers(t *testing.T) {
	for name, test := range map[string]struct {
		make func(w *world) // the volume a-v
		free func(w *world)
	}{
		"that of a claim": {
			func(w *world) { w.write("claim.yaml", claimYAML("a-v", "1Gi", "Retain", "ReadWriteOnce")) },
			func(w *world) {
				w.remove("claim.yaml")
				w.removeVolume("a-v")
			},
		},
		"one that was retained": {
			func(w *world) {
				w.write("claim.yaml", claimYAML("a-v", "1Gi", "Retain", "ReadWriteOnce"))
				w.remove("claim.yaml")
			},
			func(w *world) { w.removeVolume("a-v") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				test.make(w)
				w.written("a-v", "precious")
				w.write("a.yaml", ephemeral("a"))
				after(time.Minute)
				w.wantPhase("a", manifests.PhasePending)
				w.wantCondition("a", manifests.ConditionSynced, "False", ReasonVolumeNotOwned, "was not made for this sandbox")
				w.remove("a.yaml")
				after(time.Minute)
				if v, err := w.m.volumes.Get("default", "a-v"); err != nil || v.DeleteWithClaim {
					t.Fatalf("the volume is now %+v, %v", v, err)
				}
				test.free(w)
				w.write("a.yaml", ephemeral("a"))
				after(time.Minute)
				w.wantPhase("a", manifests.PhaseRunning)
			})
		})
	}
}

func (w *world) removeVolume(name string) {
	w.t.Helper()
	_, err := w.m.RemoveVolume(w.t.Context(), &api.RemoveVolumeRequest{Name: name})
	w.ok(err)
}
