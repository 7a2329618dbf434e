package reconciler

import (
	"errors"
	"strings"
	"testing"
	"time"

	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// A Pod has rules of its own in kstatus, by its phase: ours are more.
func TestPodIsReadableByKstatus(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		pod := func(command string) string {
			return "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  restartPolicy: Never\n  containers: [{name: main, image: app:1, args: [" + command + "]}]\n"
		}
		want := func(status kstatus.Status) {
			t.Helper()
			w.wantKstatus("pod", "web", status)
		}
		w.runtimes.faults.BootDelay = duration(time.Second)
		w.write("web.yaml", pod("serve"))
		want(kstatus.InProgressStatus)
		after(10 * time.Second)
		want(kstatus.CurrentStatus)
		w.write("web.yaml", pod("sh, -c, exit 0"))
		want(kstatus.InProgressStatus)
		after(10 * time.Second)
		want(kstatus.CurrentStatus)
		w.write("web.yaml", pod("sh, -c, exit 3"))
		after(10 * time.Second)
		want(kstatus.FailedStatus)
		w.kernels.set(errors.Join(drivers.ErrUnavailable))
		w.write("web.yaml", pod("serve, other"))
		after(time.Second)
		want(kstatus.FailedStatus)
		w.kernels.set(nil)
		after(time.Minute)
		want(kstatus.CurrentStatus)
	})
}

// What has run to its end is not Ready any more, as agent-sandbox has it: for
// kstatus, which knows nothing of Finished, that is on the way.
func TestFinishedSandboxIsReadableByKstatus(t *testing.T) {
	for command, want := range map[string]kstatus.Status{"exit 0": kstatus.InProgressStatus, "exit 3": kstatus.FailedStatus} {
		inWorld(t, func(t *testing.T, w *world) {
			w.write("web.yaml", strings.Replace(podLike("web", "restartPolicy: Never"), "[serve]", "[sh, -c, "+command+"]", 1))
			after(time.Minute)
			w.wantKstatus("sandbox", "web", want)
		})
	}
}

func TestWhatNothingRunsForIsReadableByKstatus(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("all.yaml", strings.Join([]string{
			configMap("conf", "a", "b"),
			"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n",
			"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
			runtimeClass("kata", "fake"),
			"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec: {schedule: '0 3 * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: app:1}]}}}}}\n",
		}, "---\n"))
		after(time.Minute)
		for kind, name := range map[string]string{
			"configmap": "conf", "secret": "s", "persistentvolumeclaim": "data", "runtimeclass": "kata", "cronjob": "tick",
		} {
			w.wantKstatus(kind, name, kstatus.CurrentStatus)
		}
	})
}
