// Package benchcontroller has controller-runtime do what BenchmarkNoOpReconciles
// of package reconciler does, for comparison. It is a module of its own: nothing
// else here needs controller-runtime.
package benchcontroller

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

const (
	objects = 10000
	workers = 4
)

// BenchmarkNoOpReconciles puts 10,000 objects into the queue of a controller whose
// reconciler has nothing to do, and waits until each has been reconciled.
func BenchmarkNoOpReconciles(b *testing.B) {
	log.SetLogger(logr.Discard())
	var done sync.WaitGroup
	c, err := controller.NewUnmanaged("bench", controller.Options{
		MaxConcurrentReconciles: workers,
		Reconciler: reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
			done.Done()
			return reconcile.Result{}, nil
		}),
	})
	if err != nil {
		b.Fatal(err)
	}
	queues := make(chan workqueue.TypedRateLimitingInterface[reconcile.Request], 1)
	if err := c.Watch(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queues <- q
		return nil
	})); err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.Start(b.Context()) }()
	queue := <-queues
	requests := make([]reconcile.Request, objects)
	for i := range requests {
		requests[i] = reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "default", Name: fmt.Sprintf("s%05d", i)}}
	}
	b.ReportAllocs()
	for b.Loop() {
		done.Add(objects)
		for _, r := range requests {
			queue.Add(r)
		}
		done.Wait()
	}
	b.ReportMetric(float64(b.N)*objects/b.Elapsed().Seconds(), "reconciles/s")
}
