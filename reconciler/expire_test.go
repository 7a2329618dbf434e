package reconciler

import (
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// expiring returns a manifest of a sandbox that expires so long after now.
func expiring(in time.Duration, policy string) string {
	return "apiVersion: agents.x-k8s.io/v1beta1\nkind: Sandbox\nmetadata: {name: web}\nspec:\n  shutdownTime: " +
		time.Now().Add(in).UTC().Format(time.RFC3339) + "\n  shutdownPolicy: " + policy +
		"\n  podTemplate: {spec: {containers: [{name: main, image: \"example.com/app:1\", command: [serve]}]}}\n"
}

func TestSandboxExpiresAtItsShutdownTime(t *testing.T) {
	for _, policy := range []string{"Retain", "Delete"} {
		t.Run(policy, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				text := expiring(time.Hour, policy)
				w.write("web.yaml", text)
				disk := makeDisk(t, w, "web")
				after(time.Hour - time.Second)
				w.wantPhase("web", manifests.PhaseRunning)
				after(2 * time.Second)
				w.wantPhase("web", manifests.PhaseStopped)
				w.wantCondition("web", manifests.ConditionReady, "False", ReasonSandboxExpired, "Sandbox has expired")
				w.wantCondition("web", manifests.ConditionReconciling, "", "", "")
				if w.runtimes.process("web") != nil {
					t.Error("its plugin process runs on")
				}
				if exists(disk) != (policy == "Retain") {
					t.Errorf("the disk is there: %v", exists(disk))
				}
				w.stop()
				w.start()
				after(time.Hour)
				w.wantPhase("web", manifests.PhaseStopped)
				if w.runtimes.launched("web") != 1 {
					t.Error("it was started again")
				}
				w.write("web.yaml", expiring(time.Hour, policy))
				after(time.Minute)
				w.wantPhase("web", manifests.PhaseRunning)
			})
		})
	}
}

func TestSandboxThatExpiredBeforeItWasSeenNeverStarts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", expiring(-time.Hour, "Retain"))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionReady, "False", ReasonSandboxExpired, "")
		if w.runtimes.launched("web") != 0 {
			t.Error("it was started")
		}
	})
}
