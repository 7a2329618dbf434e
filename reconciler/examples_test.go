package reconciler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// example reads one of the examples of workloads.
func example(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "examples", "manifests", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestExampleOfACronJobRunsBesideItsNeighbours(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("set.yaml", example(t, "statefulset.yaml"))
		exits(0, time.Second)(w)
		w.write("cronjob.yaml", example(t, "cronjob.yaml"))
		w.write("job.yaml", example(t, "job.yaml"))
		after(7 * time.Minute)
		w.wantWorkload(manifests.KindJob, "squares", manifests.ConditionComplete, "True", "CompletionsReached", "")
		jobs := w.get(&api.GetRequest{Kind: "jobs"})
		if len(jobs) != 2 || !strings.HasPrefix(jobs[0], "Job/report-") {
			t.Errorf("jobs %q, want one of the schedule and one of its own", jobs)
		}
	})
}

func TestExampleOfAWarmPoolServesClaims(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("warmpool.yaml", example(t, "warmpool.yaml"))
		after(time.Minute)
		w.wantPool("shells", 1, 1)
		if got := w.claimed("alice"); got != "alice" {
			t.Errorf("alice has %s", got)
		}
		w.write("bob.yaml", claim("bob", "shells"))
		after(time.Minute)
		if got := w.claimed("bob"); !strings.HasPrefix(got, "shells-") {
			t.Errorf("bob has %s", got)
		}
		w.wantPool("shells", 1, 1)
	})
}
