package reconciler

import (
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// What happens to a sandbox that runs, and the steps that it may cost.
func TestEveryChangeTakesTheStepsItNeedsAndNoMore(t *testing.T) {
	const boot = "Prepare, Launch, Bootstrap, StartContainer main"
	ref := &api.Ref{Name: "web"}
	with := func(old, text string) func(*world) {
		return func(w *world) { w.write("web.yaml", strings.Replace(sandbox("web"), old, text, 1)) }
	}
	for _, tc := range []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"a look that finds no change", func(w *world) { w.look() }, ""},
		{"a file touched", func(w *world) { w.write("web.yaml", sandbox("web")+"# a comment\n") }, ""},
		{"a file renamed", func(w *world) {
			w.files["other.yaml"] = w.files["web.yaml"]
			w.remove("web.yaml")
		}, ""},
		{"a label", with("{name: web}", "{name: web, labels: {a: b}}"), ""},
		{"a policy", func(w *world) { w.write("web.yaml", podLike("web", "restartPolicy: OnFailure")) }, ""},
		{"a typo", with("image:", "imagee:"), ""},
		{"half a file", with("command: [serve]", "command: [ser"), ""},
		{"a second claim of the name", func(w *world) { w.write("b.yaml", sandbox("web")) }, ""},
		{"the directory gone", func(w *world) {
			w.missing.Store(true)
			w.look()
		}, ""},
		{"an image", with("app:1", "app:2"), "Prepare, Stop, Shutdown, RemoveDisk, Launch, Bootstrap, StartContainer main"},
		{"suspended", with("spec:\n", "spec:\n  operatingMode: Suspended\n"), "Stop, Shutdown"},
		{"paused", with("spec:\n", "spec:\n  operatingMode: Paused\n"), "Pause"},
		{"removed", func(w *world) { w.remove("web.yaml") }, "Stop, Shutdown, Remove"},
		{"stopped by a user", func(w *world) { _ = w.m.Stop(w.t.Context(), &api.StopRequest{Object: ref}) }, "Stop, Shutdown"},
		{"restarted by a user", func(w *world) { _ = w.m.Restart(w.t.Context(), &api.RestartRequest{Object: ref}) },
			"Prepare, Stop, Shutdown, Launch, Bootstrap, StartContainer main"},
		{"its process killed", func(w *world) { _ = w.m.Kill(w.t.Context(), &api.KillRequest{Object: ref, Signal: 9}) }, "StartContainer main"},
		{"its VM killed", func(w *world) { w.runtimes.process("web").Crash("killed") }, "Shutdown, " + boot},
		{"its plugin process killed", func(w *world) { w.runtimes.process("web").kill() }, "CleanUp, " + boot},
		{"the daemon restarted", func(w *world) {
			w.stop()
			w.start()
		}, "Reattach"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.write("web.yaml", sandbox("web"))
				w.wantPhase("web", manifests.PhaseRunning)
				if got := strings.Join(w.steps.of("web"), ", "); got != boot {
					t.Errorf("it came up by %q, want %q", got, boot)
				}
				before := len(w.steps.of("web"))
				tc.change(w)
				after(time.Hour)
				if got := strings.Join(w.steps.of("web")[before:], ", "); got != tc.want {
					t.Errorf("steps %q, want %q", got, tc.want)
				}
			})
		})
	}
}
