package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
)

// job returns a Job's manifest with lines added to its spec.
func job(name string, specLines ...string) string {
	return fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: %s}\nspec:\n", name) + indented(2, specLines) +
		"  template:\n    spec: {restartPolicy: Never, containers: [{name: main, image: \"example.com/app:1\", command: [work]}]}\n"
}

// set returns a StatefulSet's manifest with lines added to its spec.
func set(name, image string, specLines ...string) string {
	return fmt.Sprintf("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: %s}\nspec:\n  selector: {matchLabels: {app: %[1]s}}\n", name) + indented(2, specLines) +
		fmt.Sprintf("  template:\n    metadata: {labels: {app: %s}}\n    spec: {containers: [{name: main, image: \"example.com/%s\", command: [serve]}]}\n", name, image)
}

func indented(by int, lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", by), l)
	}
	return b.String()
}

func workloadKey(kind, name string) manifests.Key {
	return manifests.Key{Kind: kind, Namespace: "default", Name: name}
}

// jobStatus returns what the API shows of a job.
func (w *world) jobStatus(name string) *manifests.JobStatus {
	w.t.Helper()
	v := w.m.lookup(workloadKey(manifests.KindJob, name))
	if v == nil {
		w.t.Fatalf("there is no job %s", name)
	}
	return v.workload.(*manifests.JobStatus)
}

func (w *world) setStatus(name string) *manifests.StatefulSetStatus {
	w.t.Helper()
	v := w.m.lookup(workloadKey(manifests.KindStatefulSet, name))
	if v == nil {
		w.t.Fatalf("there is no set %s", name)
	}
	return v.workload.(*manifests.StatefulSetStatus)
}

// wantSet fails the test unless a set has so many replicas that are ready, and of
// the newest revision.
func (w *world) wantSet(name string, replicas, ready, updated int32) {
	w.t.Helper()
	st := w.setStatus(name)
	if st.Replicas != replicas || st.ReadyReplicas != ready || st.UpdatedReplicas != updated {
		w.t.Fatalf("%d replicas, %d ready, %d updated; want %d, %d, %d\n%+v", st.Replicas, st.ReadyReplicas, st.UpdatedReplicas, replicas, ready, updated, st.Conditions)
	}
}

// image is that of a sandbox's container as applied.
func (w *world) image(name string) string {
	w.t.Helper()
	o := w.m.object(sandboxKey(name))
	if o == nil {
		w.t.Fatalf("there is no sandbox %s", name)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimPrefix(o.spec().PodTemplate.Spec.Containers[0].Image, "example.com/")
}

// wantWorkload fails the test unless a workload has a condition with a status, a
// reason and a text in its message.
func (w *world) wantWorkload(kind, name, typ, status, reason, text string) {
	w.t.Helper()
	v := w.m.lookup(workloadKey(kind, name))
	if v == nil {
		w.t.Fatalf("there is no %s %s", kind, name)
	}
	for _, c := range workloadConditions(v.workload) {
		if c.Type == typ && string(c.Status) == status && c.Reason == reason && strings.Contains(c.Message, text) {
			return
		}
	}
	w.t.Fatalf("%s %s is not %s=%s %s %q: %+v", kind, name, typ, status, reason, text, workloadConditions(v.workload))
}

// wantKstatus fails the test unless kstatus reads an object so.
func (w *world) wantKstatus(kind, name string, want kstatus.Status) {
	w.t.Helper()
	list, err := w.m.Get(w.t.Context(), &api.GetRequest{Kind: kind, Names: []string{name}})
	if err != nil {
		w.t.Fatal(err)
	}
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(list[0]); err != nil {
		w.t.Fatal(err)
	}
	if r, err := kstatus.Compute(&u); err != nil || r.Status != want {
		w.t.Fatalf("kstatus %+v, %v; want %s\n%s", r, err, want, list[0])
	}
}

// wantNothingLeft fails the test if a record is left on disk.
func (w *world) wantNothingLeft() {
	w.t.Helper()
	for _, dir := range []string{w.state.Workloads(), w.state.Sandboxes()} {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				w.t.Errorf("%s is left", path)
			}
			return nil
		})
	}
}

func TestJobRunsToCompletion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(0, time.Second)(w)
		w.write("pi.yaml", job("pi", "completions: 3", "parallelism: 2"))
		after(500 * time.Millisecond)
		if st := w.jobStatus("pi"); st.Active != 2 || st.Succeeded != 0 {
			t.Errorf("%d active, %d succeeded; want 2, 0", st.Active, st.Succeeded)
		}
		after(time.Minute)
		st := w.jobStatus("pi")
		if st.Active != 0 || st.Succeeded != 3 || st.CompletionTime == nil || st.StartTime == nil {
			t.Errorf("status %+v", st)
		}
		w.wantWorkload(manifests.KindJob, "pi", manifests.ConditionComplete, "True", "CompletionsReached", "")
		w.wantWorkload(manifests.KindJob, "pi", manifests.ConditionSynced, "True", ReasonSynced, "")
		w.wantKstatus("jobs", "pi", kstatus.CurrentStatus)
		pods := w.get(&api.GetRequest{Kind: "pods", LabelSelector: "batch.kubernetes.io/job-name=pi"})
		if len(pods) != 3 {
			t.Errorf("sandboxes %q, want 3", pods)
		}
	})
}

func TestSandboxesSayWhoseTheyAre(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1"))
		list, err := w.m.Get(t.Context(), &api.GetRequest{Kind: "pod", Names: []string{"web-0"}})
		if err != nil {
			t.Fatal(err)
		}
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(list[0], &o); err != nil {
			t.Fatal(err)
		}
		ref := metav1.GetControllerOf(&o)
		if ref == nil || ref.Kind != "StatefulSet" || ref.Name != "web" || ref.UID != w.m.lookup(workloadKey(manifests.KindStatefulSet, "web")).uid {
			t.Errorf("owner %+v", ref)
		}
		if o.Labels["app"] != "web" || o.Labels["apps.kubernetes.io/pod-index"] != "0" || o.Labels["statefulset.kubernetes.io/pod-name"] != "web-0" {
			t.Errorf("labels %v", o.Labels)
		}
	})
}

func TestFinishedJobDoesNotRunAgainWhenTheDaemonRestarts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(0, time.Second)(w)
		w.write("pi.yaml", job("pi"))
		after(time.Minute)
		before := w.get(&api.GetRequest{Kind: "pods"})
		w.stop()
		w.start()
		after(time.Hour)
		if now := w.get(&api.GetRequest{Kind: "pods"}); len(before) != 1 || !slices.Equal(before, now) || w.jobStatus("pi").Succeeded != 1 {
			t.Errorf("sandboxes %q, want %q", now, before)
		}
	})
}

func TestJobThatRunsIsTakenOverByTheNextDaemon(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(0, time.Minute)(w)
		w.write("pi.yaml", job("pi"))
		before := w.get(&api.GetRequest{Kind: "pods"})
		w.stop()
		after(2 * time.Minute) // It ends while nobody looks.
		w.start()
		after(time.Minute)
		if now := w.get(&api.GetRequest{Kind: "pods"}); !slices.Equal(before, now) {
			t.Errorf("sandboxes %q, want %q", now, before)
		}
		w.wantWorkload(manifests.KindJob, "pi", manifests.ConditionComplete, "True", "CompletionsReached", "")
	})
}

func TestFailingJobBacksOffAndGivesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(3, time.Second)(w)
		w.write("pi.yaml", job("pi", "backoffLimit: 2"))
		after(5 * time.Second)
		if st := w.jobStatus("pi"); st.Failed != 1 || st.Active != 0 {
			t.Errorf("%d failed, %d active; want 1, 0: it waits", st.Failed, st.Active)
		}
		after(time.Minute)
		w.wantWorkload(manifests.KindJob, "pi", manifests.ConditionFailed, "True", "BackoffLimitExceeded", "")
		if st := w.jobStatus("pi"); st.Failed != 3 {
			t.Errorf("%d failed, want 3", st.Failed)
		}
		w.wantKstatus("job", "pi", kstatus.FailedStatus)
		after(time.Hour)
		if n := len(w.get(&api.GetRequest{Kind: "pods"})); n != 3 {
			t.Errorf("%d sandboxes, want 3", n)
		}
	})
}

func TestIndexedJobTellsEachSandboxItsIndex(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pi.yaml", job("pi", "completionMode: Indexed", "completions: 2", "parallelism: 2"))
		var got []string
		for _, o := range w.m.allObjects() {
			pod := o.spec().PodTemplate.Spec
			for _, e := range pod.Containers[0].Env {
				got = append(got, pod.Hostname+" "+e.Name+"="+e.Value)
			}
		}
		slices.Sort(got)
		if want := []string{"pi-0 JOB_COMPLETION_INDEX=0", "pi-1 JOB_COMPLETION_INDEX=1"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestJobTemplateCannotBeChanged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("pi.yaml", job("pi"))
		before := w.get(&api.GetRequest{Kind: "pods"})
		w.write("pi.yaml", strings.Replace(job("pi"), "app:1", "app:2", 1))
		w.wantWorkload(manifests.KindJob, "pi", manifests.ConditionSynced, "False", ReasonImmutableField, "spec.template cannot be changed")
		if now := w.get(&api.GetRequest{Kind: "pods"}); !slices.Equal(before, now) {
			t.Errorf("sandboxes %q, want %q", now, before)
		}
		w.write("pi.yaml", job("pi", "suspend: true"))
		after(time.Minute)
		w.wantWorkload(manifests.KindJob, "pi", manifests.ConditionSynced, "True", ReasonSynced, "")
		w.wantWorkload(manifests.KindJob, "pi", "Suspended", "True", "JobSuspended", "")
		if now := w.get(&api.GetRequest{Kind: "pods"}); len(now) > 0 {
			t.Errorf("a suspended job has %q", now)
		}
		w.remove("pi.yaml")
		after(time.Second)
		w.write("pi.yaml", strings.Replace(job("pi"), "app:1", "app:2", 1))
		if n := len(w.get(&api.GetRequest{Kind: "pods"})); n != 1 {
			t.Errorf("%d sandboxes of the new job, want 1", n)
		}
	})
}

func TestRemovedWorkloadTakesItsSandboxesAlong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1", "replicas: 2"))
		w.write("pi.yaml", job("pi"))
		after(time.Minute)
		w.remove("web.yaml", "pi.yaml")
		after(time.Minute)
		if left := w.get(&api.GetRequest{Kind: "all"}); len(left) > 0 {
			t.Errorf("%q is left", left)
		}
		w.wantNothingLeft()
		w.wantEvent("web", "Deleted")
	})
}

func TestRemovalOfAWorkloadIsFinishedByTheNextDaemon(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.IgnoreSignals = true
		w.write("web.yaml", set("web", "a:1", "replicas: 2"))
		after(time.Minute)
		delete(w.files, "web.yaml")
		w.Resync()
		time.Sleep(time.Millisecond) //nolint:forbidigo // of the bubble
		w.stop()
		w.start()
		after(time.Minute)
		w.wantNothingLeft()
	})
}

func TestBrokenFileKeepsAWorkloadAndItsSandboxes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1", "replicas: 2"))
		after(time.Minute)
		w.write("web.yaml", set("web", "a:1", "replicas: many"))
		w.wantWorkload(manifests.KindStatefulSet, "web", manifests.ConditionSynced, "False", ReasonInvalidManifest, "web.yaml:6:")
		w.runtimes.process("web-1").Crash("killed")
		after(time.Minute)
		w.wantSet("web", 2, 2, 2)
		w.stop()
		w.start()
		after(time.Minute)
		w.wantSet("web", 2, 2, 2)
		for _, name := range []string{"web-0", "web-1"} {
			w.wantPhase(name, manifests.PhaseRunning)
		}
	})
}

func TestPruneGuardCountsTheSandboxesOfAWorkload(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1", "replicas: 3", "podManagementPolicy: Parallel"))
		w.write("one.yaml", sandbox("one"))
		after(time.Minute)
		w.remove("web.yaml")
		w.wantWorkload(manifests.KindStatefulSet, "web", manifests.ConditionSynced, "False", ReasonPruneHeld, "vzctl prune --confirm")
		after(time.Minute)
		w.wantSet("web", 3, 3, 3)
		if _, err := w.m.ConfirmPrune(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if left := w.get(&api.GetRequest{Kind: "all"}); !slices.Equal(left, []string{"Sandbox/one"}) {
			t.Errorf("%q is left", left)
		}
	})
}

func TestNameOfAManifestsObjectIsNotTaken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("own.yaml", sandbox("web-0"))
		w.write("web.yaml", set("web", "a:1"))
		after(time.Minute)
		w.wantWorkload(manifests.KindStatefulSet, "web", manifests.ConditionSynced, "False", ReasonDuplicateName, "own.yaml")
		w.wantKstatus("sts", "web", kstatus.FailedStatus)
		w.wantCondition("web-0", manifests.ConditionReady, "True", "", "")
		if w.image("web-0") != "app:1" || w.runtimes.launched("web-0") != 1 {
			t.Error("the manifest's own sandbox was touched")
		}
		w.remove("own.yaml")
		after(time.Minute)
		w.wantSet("web", 1, 1, 1)
		if w.image("web-0") != "a:1" {
			t.Errorf("image %s", w.image("web-0"))
		}
	})
}

func TestManifestCannotTakeAWorkloadsSandbox(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1"))
		w.write("own.yaml", sandbox("web-0"))
		w.wantCondition("web-0", manifests.ConditionSynced, "False", ReasonDuplicateName, "own.yaml:1:1 has the name of a Sandbox of StatefulSet default/web")
		w.wantCondition("web-0", manifests.ConditionReady, "True", "", "")
		if w.image("web-0") != "a:1" {
			t.Errorf("image %s", w.image("web-0"))
		}
		w.remove("own.yaml")
		w.wantCondition("web-0", manifests.ConditionSynced, "True", "", "")
		w.write("own.yaml", sandbox("web-0"))
		w.remove("web.yaml")
		after(time.Minute)
		w.wantCondition("web-0", manifests.ConditionReady, "True", "", "")
		if w.image("web-0") != "app:1" {
			t.Errorf("image %s: the manifest's turn has come", w.image("web-0"))
		}
	})
}

func TestSandboxWhoseOwnerIsLostIsKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1"))
		w.stop()
		if err := os.RemoveAll(w.state.Workloads()); err != nil {
			t.Fatal(err)
		}
		text := w.files["web.yaml"]
		delete(w.files, "web.yaml")
		w.start()
		after(time.Minute)
		w.wantCondition("web-0", manifests.ConditionReady, "True", "", "")
		w.wantCondition("web-0", manifests.ConditionSynced, "False", ReasonOwnerMissing, "vzctl delete")
		w.write("web.yaml", text)
		after(time.Minute)
		w.wantCondition("web-0", manifests.ConditionSynced, "True", "", "")
		if w.runtimes.launched("web-0") != 1 {
			t.Error("it was disturbed")
		}
	})
}

func TestUnreadableRecordOfAWorkloadLeavesItsSandboxesAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1"))
		w.stop()
		if err := os.WriteFile(w.state.Workload("StatefulSet", "default", "web")+"/object.json", []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start()
		after(time.Minute)
		w.wantWorkload(manifests.KindStatefulSet, "web", manifests.ConditionSynced, "False", ReasonRecordUnreadable, "")
		w.wantCondition("web-0", manifests.ConditionReady, "True", "", "")
	})
}

func TestSetStartsOneAfterTheOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.BootDelay = duration(time.Second)
		w.write("web.yaml", set("web", "a:1", "replicas: 3"))
		after(1500 * time.Millisecond)
		w.wantSet("web", 2, 1, 2)
		w.wantKstatus("sts", "web", kstatus.InProgressStatus)
		after(time.Minute)
		w.wantSet("web", 3, 3, 3)
		w.wantKstatus("sts", "web", kstatus.CurrentStatus)
		w.wantWorkload(manifests.KindStatefulSet, "web", manifests.ConditionReady, "True", "ReplicasAvailable", "3 of 3")
		w.write("web.yaml", set("web", "a:1", "replicas: 1"))
		after(time.Minute)
		w.wantSet("web", 1, 1, 1)
		w.wantPhase("web-0", manifests.PhaseRunning)
	})
}

func TestSetRollsOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.runtimes.faults.BootDelay = duration(time.Second)
		w.write("web.yaml", set("web", "a:1", "replicas: 3"))
		after(time.Minute)
		before := w.setStatus("web").CurrentRevision
		w.write("web.yaml", set("web", "a:2", "replicas: 3"))
		for range 200 {
			ready := 0
			for i := range 3 {
				if isTrue(w.status(fmt.Sprintf("web-%d", i)).Conditions, manifests.ConditionReady) {
					ready++
				}
			}
			if ready < 2 {
				t.Fatalf("%d are ready, though one at a time may be made anew", ready)
			}
			after(50 * time.Millisecond)
		}
		w.wantSet("web", 3, 3, 3)
		st := w.setStatus("web")
		if st.CurrentRevision == before || st.CurrentRevision != st.UpdateRevision {
			t.Errorf("revision %s after %s", st.CurrentRevision, before)
		}
		for i := range 3 {
			if name := fmt.Sprintf("web-%d", i); w.image(name) != "a:2" || w.runtimes.launched(name) != 2 {
				t.Errorf("%s: image %s, launched %d times", name, w.image(name), w.runtimes.launched(name))
			}
		}
	})
}

func TestFailedRollOutStopsByItself(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"no such image":     func(w *world) { w.images.fail("example.com/a:2", images.ErrNotFound) },
		"registry is away":  func(w *world) { w.images.fail("example.com/a:2", errors.New("no route to host")) },
		"it does not start": func(w *world) { w.runtimes.faults.StartError = "no such program" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.write("web.yaml", set("web", "a:1", "replicas: 3"))
				after(time.Minute)
				spoil(w)
				w.write("web.yaml", set("web", "a:2", "replicas: 3"))
				after(time.Hour)
				w.wantSet("web", 3, 2, 1)
				w.wantWorkload(manifests.KindStatefulSet, "web", manifests.ConditionReady, "False", "ReplicasUnavailable", "2 of 3")
				for _, name := range []string{"web-0", "web-1"} {
					if w.image(name) != "a:1" || w.runtimes.launched(name) != 1 {
						t.Errorf("%s was touched", name)
					}
				}
				w.runtimes.faults.StartError = ""
				w.write("web.yaml", set("web", "a:1", "replicas: 3"))
				after(time.Hour)
				w.wantSet("web", 3, 3, 3)
				w.wantKstatus("sts", "web", kstatus.CurrentStatus)
			})
		})
	}
}

func TestRollOutGoesOnAfterTheDaemonWasRestarted(t *testing.T) {
	for at := range 8 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.runtimes.faults.BootDelay = duration(time.Second)
				w.write("web.yaml", set("web", "a:1", "replicas: 3"))
				after(time.Minute)
				w.files["web.yaml"] = set("web", "a:2", "replicas: 3")
				w.Resync()
				time.Sleep(time.Duration(at) * 400 * time.Millisecond) //nolint:forbidigo // of the bubble
				w.stop()
				w.start()
				after(time.Minute)
				w.wantSet("web", 3, 3, 3)
				for i := range 3 {
					if name := fmt.Sprintf("web-%d", i); w.image(name) != "a:2" || w.runtimes.launched(name) > 3 {
						t.Errorf("%s: image %s, launched %d times", name, w.image(name), w.runtimes.launched(name))
					}
				}
			})
		})
	}
}

func TestRemovedReplicaIsMadeAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1", "replicas: 2", "updateStrategy: {type: OnDelete}"))
		after(time.Minute)
		w.write("web.yaml", set("web", "a:2", "replicas: 2", "updateStrategy: {type: OnDelete}"))
		after(time.Minute)
		if w.image("web-0") != "a:1" {
			t.Error("it was updated, though nobody deleted it")
		}
		if _, err := w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Kind: "pod", Name: "web-0"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantSet("web", 2, 2, 1)
		if w.image("web-0") != "a:2" || w.image("web-1") != "a:1" {
			t.Errorf("images %s, %s", w.image("web-0"), w.image("web-1"))
		}
	})
}

func TestRevisionsAreKeptWithinTheirLimit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 5 {
			w.write("web.yaml", set("web", fmt.Sprintf("a:%d", i), "revisionHistoryLimit: 2"))
			after(time.Minute)
		}
		revisions := w.m.workload(workloadKey(manifests.KindStatefulSet, "web")).record.Workload.Revisions
		if len(revisions) != 3 || revisions[2].Revision != 5 {
			t.Errorf("%d revisions", len(revisions))
		}
	})
}

func TestRevisionsAreWatched(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var got []string
		defer func(end func() error) { _ = end() }(w.watch("controllerrevisions", &got))
		revise := func(image string) {
			w.write("web.yaml", set("web", image, "replicas: 1", "revisionHistoryLimit: 0"))
			after(time.Minute)
		}
		revise("a:1")
		first := w.m.workload(workloadKey(manifests.KindStatefulSet, "web")).record.Workload.Revisions[0].Name
		revise("a:2")
		second := w.m.workload(workloadKey(manifests.KindStatefulSet, "web")).record.Workload.Revisions[0].Name
		w.remove("web.yaml")
		after(time.Minute)
		want := []string{"SYNCED  ", "ADDED " + first + " ", "ADDED " + second + " ", "DELETED " + first + " ", "DELETED " + second + " "}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

const everyMinute = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec:\n  schedule: '* * * * *'\n  timeZone: Etc/UTC\n  jobTemplate:\n    spec:\n      template:\n        spec: {restartPolicy: Never, containers: [{name: main, image: \"example.com/app:1\", command: [work]}]}\n"

func TestCronJobRunsAtItsTimes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(0, time.Second)(w)
		w.write("tick.yaml", everyMinute)
		after(59 * time.Second)
		if jobs := w.get(&api.GetRequest{Kind: "jobs"}); len(jobs) > 0 {
			t.Errorf("%q before its time", jobs)
		}
		after(11 * time.Second)
		if jobs := w.get(&api.GetRequest{Kind: "jobs"}); len(jobs) != 1 {
			t.Errorf("jobs %q, want one", jobs)
		}
		after(10 * time.Minute)
		if jobs, pods := w.get(&api.GetRequest{Kind: "jobs"}), w.get(&api.GetRequest{Kind: "pods"}); len(jobs) != 3 || len(pods) != 3 {
			t.Errorf("jobs %q of %q, want the last 3", pods, jobs)
		}
		w.wantKstatus("cj", "tick", kstatus.CurrentStatus)
		st := w.m.lookup(workloadKey(manifests.KindCronJob, "tick")).workload.(*manifests.CronJobStatus)
		if st.LastScheduleTime == nil || st.LastSuccessfulTime == nil || len(st.Active) > 0 {
			t.Errorf("status %+v", st)
		}
		w.remove("tick.yaml")
		after(time.Minute)
		if left := w.get(&api.GetRequest{Kind: "all"}); len(left) > 0 {
			t.Errorf("%q is left", left)
		}
		w.wantNothingLeft()
	})
}

func TestCronJobMakesUpForOneMissedTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		exits(0, time.Second)(w)
		w.write("tick.yaml", strings.Replace(everyMinute, "  jobTemplate", "  successfulJobsHistoryLimit: 100\n  jobTemplate", 1))
		after(90 * time.Second)
		w.stop()
		after(10 * time.Minute)
		w.start()
		after(10 * time.Second)
		if jobs := w.get(&api.GetRequest{Kind: "jobs"}); len(jobs) != 2 {
			t.Errorf("jobs %q, want two: one of before, one for all that were missed", jobs)
		}
	})
}

func TestWorkloadEventsTellWhatWasMade(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", set("web", "a:1"))
		var reasons []string
		for _, e := range w.events.List(events.Filter{Name: "web"}) {
			reasons = append(reasons, e.Reason)
		}
		if !slices.Equal(reasons, []string{"Created", "SuccessfulCreate"}) {
			t.Errorf("events %q", reasons)
		}
	})
}

// Whatever is edited while daemons come and go, and whatever dies, the set ends up
// as it was written last.
func TestSetConvergesWhateverHappens(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.runtimes.faults.BootDelay = duration(200 * time.Millisecond)
				w.maxPrune = 1000
				random := rand.New(rand.NewPCG(seed, 1))
				image, replicas := 1, 1
				for range 12 {
					switch random.IntN(6) {
					case 0:
						w.stop()
						w.start()
					case 1:
						if p := w.runtimes.process(fmt.Sprintf("web-%d", random.IntN(4))); p != nil {
							p.Crash("killed")
						}
					case 2:
						_, _ = w.m.Delete(t.Context(), &api.DeleteRequest{Object: &api.Ref{Kind: "pod", Name: fmt.Sprintf("web-%d", random.IntN(4))}})
					case 3:
						w.remove("web.yaml")
					default:
						image, replicas = 1+random.IntN(3), random.IntN(5)
						w.files["web.yaml"] = set("web", fmt.Sprintf("a:%d", image), fmt.Sprintf("replicas: %d", replicas))
						w.Resync()
					}
					after(time.Duration(random.IntN(3000)) * time.Millisecond)
				}
				w.write("web.yaml", set("web", fmt.Sprintf("a:%d", image), fmt.Sprintf("replicas: %d", replicas)))
				after(time.Hour)
				n := int32(replicas) //nolint:gosec // small
				w.wantSet("web", n, n, n)
				pods := w.get(&api.GetRequest{Kind: "pods"})
				if len(pods) != replicas {
					t.Errorf("sandboxes %q, want %d", pods, replicas)
				}
				for i := range replicas {
					if got := w.image(fmt.Sprintf("web-%d", i)); got != fmt.Sprintf("a:%d", image) {
						t.Errorf("web-%d: image %s, want a:%d", i, got, image)
					}
				}
				w.wantKstatus("sts", "web", kstatus.CurrentStatus)
			})
		})
	}
}
