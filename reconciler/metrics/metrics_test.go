package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/util/workqueue"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md")

func key(name string) manifests.Key {
	return manifests.Key{Kind: manifests.KindSandbox, Namespace: "default", Name: name}
}

// used returns a registry whose metrics all have been used.
func used(t *testing.T) (*prometheus.Registry, *Metrics) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	m.CollectSandboxes(slices.Values([]Sandbox{
		{Key: key("web"), Phase: manifests.PhaseRunning, Ready: true, Runtime: "qemu", Image: "nginx:1"},
		{Key: key("broken"), Phase: manifests.PhasePending},
	}))
	m.AddRestart(key("web"), "nginx")
	m.Reconciled("Sandbox", ResultSuccess, time.Millisecond)
	m.Converged(2*time.Second, "")
	m.Booted("qemu", drivers.StageAgentUp, time.Second)
	m.SetSourceErrors("/m", 1)
	m.SetSourceCommit("/m", "0")
	m.SetSourceCommit("/m", "1")
	m.SetSourceSynced("/m", time.Unix(1800000000, 0))
	m.SetSandboxSuspended(key("web"), true)
	m.SetPruneHeld(3)
	m.SetPluginUp("qemu", true)
	m.AddPluginRestart("qemu")
	m.Probed("liveness", "failed")
	m.AddDrift(DriftVM)
	m.CollectUsage(Usage{
		Running: func() []manifests.Key { return []manifests.Key{key("web")} },
		Statistics: func(context.Context, manifests.Key) (drivers.Statistics, error) {
			return drivers.Statistics{Sandbox: drivers.ResourceUse{CPUUsec: 1_500_000, MemoryBytes: 7}}, nil
		},
	})
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[string](),
		workqueue.TypedRateLimitingQueueConfig[string]{Name: "objects", MetricsProvider: m.WorkqueueProvider()})
	t.Cleanup(queue.ShutDown)
	queue.Add("a")
	item, _ := queue.Get()
	queue.Done(item)
	return reg, m
}

func TestMetricsFollowPrometheusRules(t *testing.T) {
	reg, _ := used(t)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestValues(t *testing.T) {
	reg, _ := used(t)
	want := `
# HELP vzreconciler_sandbox_cpu_seconds_total CPU time used in the sandbox's VM since it booted.
# TYPE vzreconciler_sandbox_cpu_seconds_total counter
vzreconciler_sandbox_cpu_seconds_total{name="web",namespace="default"} 1.5
# HELP vzreconciler_sandbox_info Always 1; tells a sandbox's runtime and the image of its first container.
# TYPE vzreconciler_sandbox_info gauge
vzreconciler_sandbox_info{image="nginx:1",name="web",namespace="default",runtime="qemu"} 1
# HELP vzreconciler_sandbox_ready Whether the sandbox's Ready condition is True (1) or not (0).
# TYPE vzreconciler_sandbox_ready gauge
vzreconciler_sandbox_ready{name="web",namespace="default"} 1
# HELP vzreconciler_source_last_sync_timestamp_seconds Unix time of the last complete look at the manifests.
# TYPE vzreconciler_source_last_sync_timestamp_seconds gauge
vzreconciler_source_last_sync_timestamp_seconds{source="/m"} 1.8e+09
# HELP workqueue_adds_total Objects added to the work queue.
# TYPE workqueue_adds_total counter
workqueue_adds_total{name="objects"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "vzreconciler_sandbox_cpu_seconds_total", "vzreconciler_sandbox_info",
		"vzreconciler_sandbox_ready", "vzreconciler_source_last_sync_timestamp_seconds", "workqueue_adds_total"); err != nil {
		t.Error(err)
	}
}

func TestEveryPhaseHasASeries(t *testing.T) {
	var want strings.Builder
	want.WriteString("# HELP vzreconciler_sandboxes Sandboxes by phase.\n# TYPE vzreconciler_sandboxes gauge\n")
	for _, p := range phases() {
		n := 0
		if p == manifests.PhaseRunning || p == manifests.PhasePending {
			n = 1
		}
		fmt.Fprintf(&want, "vzreconciler_sandboxes{phase=%q} %d\n", p, n)
	}
	reg, _ := used(t)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want.String()), "vzreconciler_sandboxes"); err != nil {
		t.Error(err)
	}
}

func TestSandboxThatIsGoneLeavesNoSeries(t *testing.T) {
	_, m := used(t)
	m.AddRestart(key("db"), "postgres")
	m.Forget(key("web"))
	if n := testutil.CollectAndCount(m.sandboxRestarts); n != 1 {
		t.Errorf("%d series of restarts, want that of the other", n)
	}
}

func TestHistogramsAreNative(t *testing.T) {
	reg, _ := used(t)
	n := 0
	for _, f := range gather(t, reg) {
		if f.GetType() == dto.MetricType_HISTOGRAM && !strings.HasPrefix(f.GetName(), "go_") {
			n++
			if f.GetMetric()[0].GetHistogram().Schema == nil {
				t.Errorf("%s is not native", f.GetName())
			}
		}
	}
	if n != 5 {
		t.Errorf("%d histograms, want 5", n)
	}
}

func TestGuestThatDoesNotAnswerNeverHoldsAScrapeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		c := newUsageCollector(Usage{
			Timeout: time.Second,
			Running: func() []manifests.Key { return []manifests.Key{key("deaf"), key("web"), key("broken")} },
			Statistics: func(_ context.Context, k manifests.Key) (drivers.Statistics, error) {
				switch k.Name {
				case "deaf":
					asked.Add(1)
					<-release // not even the end of its context moves it
				case "broken":
					return drivers.Statistics{}, errors.New("no answer")
				}
				return drivers.Statistics{}, nil
			},
		})
		for range 3 {
			start := time.Now()
			if n := testutil.CollectAndCount(c, "vzreconciler_sandbox_cpu_seconds_total"); n != 1 {
				t.Errorf("%d sandboxes answered, want 1", n)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("a scrape took %v", took)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("it was asked %d times at once", n)
		}
		close(release)
		synctest.Wait()
		if n := testutil.CollectAndCount(c, "vzreconciler_sandbox_cpu_seconds_total"); n != 2 {
			t.Errorf("%d sandboxes answered in the end, want 2", n)
		}
	})
}

func gather(t *testing.T, reg prometheus.Gatherer) []*dto.MetricFamily {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// TestDocumentListsTheMetrics fails when docs/metrics.md is not what the code
// says; run it with -update to write the table.
func TestDocumentListsTheMetrics(t *testing.T) {
	const (
		path  = "../../docs/metrics.md"
		begin = "<!-- generated by: go test ./reconciler/metrics -update -->\n"
		end   = "<!-- end -->\n"
	)
	reg, _ := used(t)
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, f := range gather(t, reg) {
		name := f.GetName()
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of its table", path)
	}
	if have == table.String() {
		return
	}
	if !*update {
		t.Fatalf("the table in %s is out of date: run go test ./reconciler/metrics -update", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+table.String()+end+after), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}
