package reconciler

import (
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
)

// newQueue returns the queue of the objects to look at. It never gives one
// object to two workers at once.
func newQueue(m *metrics.Metrics) workqueue.TypedRateLimitingInterface[manifests.Key] {
	// What is limited is the writing of records and statuses to a disk that fails:
	// steps that fail have back-offs of their own.
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[manifests.Key](firstDelay/10, maxDelay/10)
	cfg := workqueue.TypedRateLimitingQueueConfig[manifests.Key]{Name: "sandbox"}
	if m != nil {
		cfg.MetricsProvider = m.WorkqueueProvider()
	}
	return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, cfg)
}

func (m *Manager) runWorker() {
	for {
		key, shutdown := m.queue.Get()
		if shutdown {
			return
		}
		m.process(key)
	}
}

func (m *Manager) process(key manifests.Key) {
	defer m.queue.Done(key)
	begun := time.Now()
	look := m.reconcile
	if key.IsWorkload() {
		look = m.reconcileWorkload
	}
	again, err := look(key)
	result := metrics.ResultSuccess
	switch {
	case err != nil:
		result = metrics.ResultError
		m.log.Warn("look at object", "object", key.String(), "error", err)
		m.queue.AddRateLimited(key)
	case !again.IsZero():
		result = metrics.ResultRequeue
		m.queue.Forget(key)
		m.queue.AddAfter(key, max(time.Until(again), time.Millisecond))
	default:
		m.queue.Forget(key)
	}
	m.opts.Metrics.Reconciled(key.Kind, result, time.Since(begun))
}
