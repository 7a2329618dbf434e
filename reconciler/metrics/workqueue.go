package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
)

// queueMetrics are client-go's metrics of a work queue, under the names that
// every Kubernetes component gives them.
type queueMetrics struct {
	depth, unfinished, longest *prometheus.GaugeVec
	adds, retries              *prometheus.CounterVec
	latency, work              *prometheus.HistogramVec
}

// WorkqueueProvider is for the configuration of a named work queue.
func (m *Metrics) WorkqueueProvider() workqueue.MetricsProvider { return m.queue }

func newQueueMetrics() *queueMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Subsystem: "workqueue", Name: name, Help: help}, []string{"name"})
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Subsystem: "workqueue", Name: name, Help: help}, []string{"name"})
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		opts := histogramOpts(name, help, prometheus.ExponentialBuckets(1e-5, 10, 8))
		opts.Namespace, opts.Subsystem = "", "workqueue"
		return prometheus.NewHistogramVec(opts, []string{"name"})
	}
	return &queueMetrics{
		depth:      gauge("depth", "Objects waiting in the work queue."),
		adds:       counter("adds_total", "Objects added to the work queue."),
		latency:    histogram("queue_duration_seconds", "How long an object waited in the work queue."),
		work:       histogram("work_duration_seconds", "How long the processing of an object from the work queue took."),
		unfinished: gauge("unfinished_work_seconds", "Seconds of work on objects in progress, not yet in work_duration_seconds."),
		longest:    gauge("longest_running_processor_seconds", "How long the work in progress that began first has taken so far."),
		retries:    counter("retries_total", "Objects put back into the work queue with a delay."),
	}
}

func (q *queueMetrics) register(reg prometheus.Registerer) {
	reg.MustRegister(q.depth, q.adds, q.latency, q.work, q.unfinished, q.longest, q.retries)
}

func (q *queueMetrics) NewDepthMetric(name string) workqueue.GaugeMetric {
	return q.depth.WithLabelValues(name)
}

func (q *queueMetrics) NewAddsMetric(name string) workqueue.CounterMetric {
	return q.adds.WithLabelValues(name)
}

func (q *queueMetrics) NewLatencyMetric(name string) workqueue.HistogramMetric {
	return q.latency.WithLabelValues(name)
}

func (q *queueMetrics) NewWorkDurationMetric(name string) workqueue.HistogramMetric {
	return q.work.WithLabelValues(name)
}

func (q *queueMetrics) NewUnfinishedWorkSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return q.unfinished.WithLabelValues(name)
}

func (q *queueMetrics) NewLongestRunningProcessorSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return q.longest.WithLabelValues(name)
}

func (q *queueMetrics) NewRetriesMetric(name string) workqueue.CounterMetric {
	return q.retries.WithLabelValues(name)
}
