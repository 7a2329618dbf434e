package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

const extensions = "apiVersion: " + manifests.ExtensionsAPIVersion + "\n"

// template returns a SandboxTemplate's manifest with lines added to its spec.
func template(name string, image int, specLines ...string) string {
	return fmt.Sprintf("%skind: SandboxTemplate\nmetadata: {name: %s}\nspec:\n", extensions, name) + indented(2, specLines) +
		fmt.Sprintf("  podTemplate:\n    metadata: {labels: {app: %s}}\n    spec: {containers: [{name: main, image: \"example.com/app:%d\", command: [serve], env: [{name: A, value: b}]}]}\n", name, image)
}

func warmPool(name, template string, replicas int, specLines ...string) string {
	return fmt.Sprintf("%skind: SandboxWarmPool\nmetadata: {name: %s}\nspec:\n  sandboxTemplateRef: {name: %s}\n  replicas: %d\n", extensions, name, template, replicas) + indented(2, specLines)
}

func claim(name, pool string, specLines ...string) string {
	return fmt.Sprintf("%skind: SandboxClaim\nmetadata: {name: %s}\nspec:\n  warmPoolRef: {name: %s}\n", extensions, name, pool) + indented(2, specLines)
}

func (w *world) poolStatus(name string) *manifests.SandboxWarmPoolStatus {
	w.t.Helper()
	v := w.m.lookup(workloadKey(manifests.KindSandboxWarmPool, name))
	if v == nil {
		w.t.Fatalf("there is no pool %s", name)
	}
	return v.workload.(*manifests.SandboxWarmPoolStatus)
}

func (w *world) claimStatus(name string) *manifests.SandboxClaimStatus {
	w.t.Helper()
	v := w.m.lookup(workloadKey(manifests.KindSandboxClaim, name))
	if v == nil {
		w.t.Fatalf("there is no claim %s", name)
	}
	return v.workload.(*manifests.SandboxClaimStatus)
}

// wantPool fails the test unless a pool has so many sandboxes that are ready.
func (w *world) wantPool(name string, replicas, ready int32) {
	w.t.Helper()
	if st := w.poolStatus(name); st.Replicas != replicas || st.ReadyReplicas != ready {
		w.t.Fatalf("pool %s has %d sandboxes, %d ready; want %d, %d\n%+v", name, st.Replicas, st.ReadyReplicas, replicas, ready, st.Conditions)
	}
}

func (w *world) wantClaim(name, status, reason, text string) {
	w.t.Helper()
	w.wantWorkload(manifests.KindSandboxClaim, name, manifests.ConditionReady, status, reason, text)
}

// claimed returns the name of the sandbox that a claim has, which is ready.
func (w *world) claimed(name string) string {
	w.t.Helper()
	w.wantClaim(name, "True", ReasonDependenciesReady, "")
	sandbox := w.claimStatus(name).Sandbox.Name
	w.wantPhase(sandbox, manifests.PhaseRunning)
	return sandbox
}

// owners returns the owner of each sandbox, by its name.
func (w *world) owners() map[string]string {
	owners := map[string]string{}
	for _, o := range w.m.allObjects() {
		if v := o.view.Load(); v != nil && v.owner != nil {
			owners[o.key.Name] = v.owner.Kind + "/" + v.owner.Name
		}
	}
	return owners
}

// members returns the sandboxes that an owner has, sorted.
func (w *world) members(owner string) []string {
	var names []string
	for name, has := range w.owners() {
		if has == owner {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestPoolIsKeptFull(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pool.yaml", warmPool("warm", "py", 2))
		w.wantWorkload(manifests.KindSandboxWarmPool, "warm", manifests.ConditionReady, "False", workload.ReasonTemplateNotFound, `SandboxTemplate "py" not found`)
		w.wantKstatus("sandboxwarmpools", "warm", kstatus.FailedStatus)
		w.write("template.yaml", template("py", 1))
		after(time.Minute)
		w.wantPool("warm", 2, 2)
		w.wantKstatus("swp", "warm", kstatus.CurrentStatus)
		if got := w.get(&api.GetRequest{Kind: "sandboxes", LabelSelector: w.poolStatus("warm").Selector}); len(got) != 2 {
			t.Errorf("the selector finds %q", got)
		}
		if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Name: w.members("SandboxWarmPool/warm")[0]}}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantPool("warm", 2, 2)
		w.write("pool.yaml", warmPool("warm", "py", 1))
		after(time.Minute)
		w.wantPool("warm", 1, 1)
		w.remove("pool.yaml", "template.yaml")
		after(time.Minute)
		w.wantNothingLeft()
	})
}

func TestClaimTakesTheSandboxThatWasReadyFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 1))
		after(time.Minute)
		first := w.members("SandboxWarmPool/warm")[0]
		boot := w.status(first).Runtime.BootID
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 2))
		after(time.Minute)
		steps := w.steps.of(first)
		w.write("claim.yaml", claim("alice", "warm", `additionalPodMetadata: {labels: {sandbox.users.io/user: alice}}`))
		after(time.Minute)
		if got := w.claimed("alice"); got != first {
			t.Fatalf("claimed %s, want %s", got, first)
		}
		if w.status(first).Runtime.BootID != boot || !slices.Equal(w.steps.of(first), steps) {
			t.Errorf("it was disturbed: %v", w.steps.of(first)[len(steps):])
		}
		o := w.m.object(sandboxKey(first)).record.Sandbox
		uid := w.m.lookup(workloadKey(manifests.KindSandboxClaim, "alice")).uid
		if o.Labels[workload.ClaimUIDLabel] != string(uid) || o.Labels[workload.WarmPoolLabel] != "" || o.Labels[workload.LaunchTypeLabel] != workload.LaunchWarm {
			t.Errorf("labels %v", o.Labels)
		}
		if pod := o.Spec.PodTemplate.ObjectMeta.Labels; pod["sandbox.users.io/user"] != "alice" || pod["app"] != "py" || pod[workload.WarmPoolLabel] != "" {
			t.Errorf("labels of its Pod %v", pod)
		}
		w.wantPool("warm", 2, 2)
		w.wantKstatus("sandboxclaims", "alice", kstatus.CurrentStatus)
		if st := w.claimStatus("alice"); !slices.Equal(st.Sandbox.PodIPs, w.status(first).PodIPs) {
			t.Errorf("addresses %v", st.Sandbox.PodIPs)
		}
		// It is the claim's for good: neither pool nor template matter any more.
		w.remove("pool.yaml")
		after(time.Minute)
		if got := w.owners(); len(got) != 1 || got[first] != "SandboxClaim/alice" {
			t.Errorf("sandboxes %v", got)
		}
		w.stop()
		w.start()
		after(time.Minute)
		if w.claimed("alice") != first || w.status(first).Runtime.BootID != boot {
			t.Error("it was lost with the daemon")
		}
		w.remove("claim.yaml")
		after(time.Minute)
		w.wantNothingLeft()
	})
}

func TestClaimOfAnEmptyPoolStartsCold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("claim.yaml", claim("alice", "warm"))
		w.wantClaim("alice", "False", workload.ReasonWarmPoolNotFound, `SandboxWarmPool "warm" not found`)
		w.wantKstatus("sandboxclaim", "alice", kstatus.FailedStatus)
		w.write("pool.yaml", warmPool("warm", "py", 0))
		w.wantClaim("alice", "False", workload.ReasonTemplateNotFound, `SandboxTemplate "py" not found`)
		w.write("template.yaml", template("py", 1))
		after(time.Minute)
		if got := w.claimed("alice"); got != "alice" {
			t.Errorf("claimed %s, want one of the claim's name", got)
		}
		if o := w.m.object(sandboxKey("alice")).record; o.Sandbox.Labels[workload.LaunchTypeLabel] != workload.LaunchCold || o.Kind != "Sandbox" || o.APIVersion != "agents.x-k8s.io/v1beta1" {
			t.Errorf("%s %s, labels %v", o.APIVersion, o.Kind, o.Sandbox.Labels)
		}
		// One that is removed by hand is made again.
		if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Name: "alice"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.claimed("alice")
	})
}

func TestClaimWithVariablesIsMadeWithThem(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 1))
		after(time.Minute)
		w.write("claim.yaml", claim("alice", "warm", `env: [{name: USER, value: alice}]`))
		w.wantClaim("alice", "False", workload.ReasonEnvRejected, "not allowed by the template policy")
		w.write("pool.yaml", template("py", 1, "envVarsInjectionPolicy: Allowed")+"---\n"+warmPool("warm", "py", 1))
		after(time.Minute)
		if got := w.claimed("alice"); got != "alice" {
			t.Errorf("claimed %s, want one of its own", got)
		}
		env := w.m.object(sandboxKey("alice")).spec().PodTemplate.Spec.Containers[0].Env
		if len(env) != 2 || env[1].Name != "USER" || env[1].Value != "alice" {
			t.Errorf("variables %v", env)
		}
		w.wantPool("warm", 1, 1)
		w.write("bob.yaml", claim("bob", "warm", `env: [{name: A, value: c}]`))
		w.wantClaim("bob", "False", workload.ReasonEnvRejected, `override is not allowed by the template policy for variable "A"`)
	})
}

func TestTemplateChangesUnclaimedSandboxesByStrategy(t *testing.T) {
	for _, strategy := range []string{"OnReplenish", "Recreate"} {
		t.Run(strategy, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				pool := "---\n" + warmPool("warm", "py", 2, "updateStrategy: {type: "+strategy+"}")
				w.write("pool.yaml", template("py", 1)+pool)
				after(time.Minute)
				w.write("claim.yaml", claim("alice", "warm"))
				after(time.Minute)
				mine, before := w.claimed("alice"), w.members("SandboxWarmPool/warm")
				w.write("pool.yaml", template("py", 2)+pool)
				after(time.Minute)
				w.wantPool("warm", 2, 2)
				kept := slices.Equal(before, w.members("SandboxWarmPool/warm"))
				if kept != (strategy == "OnReplenish") {
					t.Errorf("unclaimed sandboxes kept: %v", kept)
				}
				if got := w.image(mine); got != "app:1" {
					t.Errorf("the claimed sandbox has image %s", got)
				}
				// What is made now is of the new template.
				w.write("bob.yaml", claim("bob", "warm"))
				after(time.Minute)
				images := map[string]int{}
				for _, name := range w.members("SandboxWarmPool/warm") {
					images[w.image(name)]++
				}
				if want := map[string]int{"OnReplenish": 1, "Recreate": 2}[strategy]; images["app:2"] != want {
					t.Errorf("images %v, want %d of app:2", images, want)
				}
				// Labels alone make nothing stale.
				before = w.members("SandboxWarmPool/warm")
				w.write("pool.yaml", strings.Replace(template("py", 2), "app: py", "app: other", 1)+pool)
				after(time.Minute)
				if now := w.members("SandboxWarmPool/warm"); !slices.Equal(before, now) {
					t.Errorf("sandboxes %v, want %v", now, before)
				}
			})
		})
	}
}

func TestClaimEndsAtItsTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		end := time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 1))
		after(time.Minute)
		w.write("claim.yaml", claim("alice", "warm", "lifecycle: {shutdownTime: "+end+", shutdownPolicy: Delete}"))
		after(time.Hour)
		w.claimed("alice")
		after(time.Hour)
		w.wantClaim("alice", "False", workload.ReasonClaimExpired, "Its sandbox is gone")
		if got := w.owners(); len(got) != 1 || w.claimStatus("alice").Sandbox.Name != "" {
			t.Errorf("sandboxes %v", got)
		}
		w.wantEvent("alice", "SandboxAdopted")
		w.wantEvent("alice", workload.ReasonClaimExpired)
		w.stop()
		w.start()
		after(time.Hour)
		w.wantClaim("alice", "False", workload.ReasonClaimExpired, "")
		w.write("claim.yaml", claim("alice", "warm"))
		after(time.Minute)
		w.claimed("alice") // It may go on.
	})
}

func TestClaimEndsAfterItsSandboxHasFinished(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(0, 10*time.Minute)(w)
		w.write("pool.yaml", strings.Replace(template("py", 1), "spec: {cont", "spec: {restartPolicy: Never, cont", 1)+"---\n"+warmPool("warm", "py", 1))
		after(time.Minute)
		w.write("claim.yaml", claim("alice", "warm", "lifecycle: {ttlSecondsAfterFinished: 3600}"))
		after(30 * time.Minute)
		w.wantWorkload(manifests.KindSandboxClaim, "alice", manifests.ConditionFinished, "True", ReasonPodSucceeded, "")
		mine := w.claimStatus("alice").Sandbox.Name
		after(time.Hour)
		w.wantWorkload(manifests.KindSandboxClaim, "alice", manifests.ConditionFinished, "True", ReasonPodSucceeded, "")
		w.wantClaim("alice", "False", workload.ReasonClaimExpired, "")
		if w.view(mine) != nil {
			t.Errorf("%s is still there", mine)
		}
		// One of the pool that has ended is of no use.
		if st := w.poolStatus("warm"); st.Replicas != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestBrokenFilesKeepPoolsAndClaims(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		whole := template("py", 1) + "---\n" + warmPool("warm", "py", 1) + "---\n" + claim("alice", "warm")
		w.write("all.yaml", whole)
		after(time.Minute)
		before := w.owners()
		for _, bad := range []string{whole[:len(whole)/2] + "[", strings.ReplaceAll(whole, "name:", "nme:"), "\x00"} {
			w.write("all.yaml", bad)
			w.stop()
			w.start()
			after(time.Hour)
			if now := w.owners(); fmt.Sprint(now) != fmt.Sprint(before) {
				t.Errorf("sandboxes %v, want %v", now, before)
			}
		}
	})
}

func TestClaimStandsForItsSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 1))
		after(time.Minute)
		w.write("claim.yaml", claim("alice", "warm")+"---\n"+claim("bob", "none"))
		after(time.Minute)
		mine := w.claimed("alice")
		ref := func(name string) *api.Ref { return &api.Ref{Kind: "sandboxclaim", Name: name} }
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: ref("alice")}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantPhase(mine, manifests.PhaseStopped)
		w.wantClaim("alice", "False", ReasonSandboxStopped, "")
		if _, _, err := w.m.running(ref("bob")); !errors.Is(err, drivers.ErrInvalidState) || !strings.Contains(err.Error(), "it has no sandbox") {
			t.Errorf("got %v", err)
		}
		if _, _, err := w.m.running(ref("eve")); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := w.m.sandbox(ref("alice")); err == nil {
			t.Error("a claim is taken for a sandbox of its name")
		}
	})
}

func TestClaimsNameMayBeTaken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("alice.yaml", sandbox("alice"))
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 0)+"---\n"+claim("alice", "warm"))
		after(time.Minute)
		w.wantWorkload(manifests.KindSandboxClaim, "alice", manifests.ConditionSynced, "False", ReasonDuplicateName, "is there already")
		w.remove("alice.yaml")
		after(5 * time.Minute)
		w.claimed("alice")
	})
}

func TestClaimAddsMetadataWhileItsSandboxRuns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 1)+"---\n"+claim("alice", "warm"))
		after(time.Minute)
		mine := w.claimed("alice")
		boot := w.status(mine).Runtime.BootID
		w.write("pool.yaml", template("py", 1)+"---\n"+warmPool("warm", "py", 1)+"---\n"+claim("alice", "warm", "additionalPodMetadata: {labels: {sandbox.users.io/a: b}}"))
		after(time.Minute)
		if got := w.m.object(sandboxKey(mine)).spec().PodTemplate.ObjectMeta.Labels["sandbox.users.io/a"]; got != "b" || w.status(w.claimed("alice")).Runtime.BootID != boot {
			t.Errorf("label %q", got)
		}
	})
}

// A sandbox of a pool that always ends is not made all the time.
func TestPoolReplacesWhatHasEndedNowAndThen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(1, time.Second)(w)
		w.write("pool.yaml", strings.Replace(template("py", 1), "spec: {cont", "spec: {restartPolicy: Never, cont", 1)+"---\n"+warmPool("warm", "py", 1))
		after(time.Hour)
		w.steps.mu.Lock()
		defer w.steps.mu.Unlock()
		if made := len(w.steps.begun); made < 6 || made > 13 || w.poolStatus("warm").Replicas != 1 {
			t.Errorf("%d sandboxes in an hour, status %+v", made, w.poolStatus("warm"))
		}
	})
}

// A network that a template names later is for the sandboxes to come.
func TestClaimedSandboxStaysOffItsTemplatesNewNetwork(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		pool := "---\n" + warmPool("warm", "py", 1, "updateStrategy: {type: OnReplenish}")
		w.write("pool.yaml", template("py", 1)+pool)
		after(time.Minute)
		w.write("claim.yaml", claim("alice", "warm"))
		after(time.Minute)
		mine := w.claimed("alice")
		on := strings.Replace(template("py", 1), "labels: {app: py}", "labels: {app: other}, annotations: {vzreconciler.dev/networks: default}", 1)
		if on == template("py", 1) {
			t.Fatal("the template is as it was")
		}
		w.write("pool.yaml", on+pool)
		after(time.Minute)
		w.wantPhase(mine, manifests.PhaseRunning)
		if n := w.runtimes.launched(mine); n != 1 {
			t.Errorf("launched %d times", n)
		}
	})
}
