package reconciler

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// silent is a source that has nothing to say.
type silent struct{}

func (silent) Run(ctx context.Context, _ func(source.Snapshot)) error {
	<-ctx.Done()
	return ctx.Err()
}
func (silent) Resync()                 {}
func (silent) Status() []source.Status { return nil }

// BenchmarkNoOpReconciles puts 10,000 objects into the queue that need nothing, and
// waits until each has been reconciled: the work queue and the loop, with their
// metrics. internal/tools/benchcontroller does the same with controller-runtime.
func BenchmarkNoOpReconciles(b *testing.B) {
	const objects = 10000
	dir := bundle.StateDir(b.TempDir())
	recorder, err := events.Open(dir.Events(), events.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer recorder.Close()
	m, err := New(Options{
		StateDir: dir, Source: silent{}, Metrics: metrics.New(prometheus.NewRegistry()), Events: recorder,
		Images: &testImages{}, Kernels: &testKernels{}, Runtimes: newTestRuntimes(), DefaultRuntime: "fake",
	})
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]manifests.Key, objects)
	for i := range keys {
		keys[i] = sandboxKey(fmt.Sprintf("s%05d", i))
	}
	var done, running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for key, shutdown := m.queue.Get(); !shutdown; key, shutdown = m.queue.Get() {
				m.process(key)
				done.Done()
			}
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		done.Add(objects)
		for _, key := range keys {
			m.queue.Add(key)
		}
		done.Wait()
	}
	b.ReportMetric(float64(b.N)*objects/b.Elapsed().Seconds(), "reconciles/s")
	if err := m.Close(); err != nil {
		b.Error(err)
	}
	running.Wait()
}
