package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/manifests"
)

const namespace = "vzreconciler"

// Results of a reconcile.
const (
	ResultSuccess = "success" // nothing left to do for now
	ResultRequeue = "requeue" // to be looked at again at a known time
	ResultError   = "error"   // failed, to be tried again
)

// What may change behind the daemon's back.
const (
	DriftVM     = "vm"     // a virtual machine ended unasked
	DriftPlugin = "plugin" // a plugin process ended unasked
	DriftDisk   = "disk"   // the file of a disk was removed, replaced or cut short under a VM
)

// Metrics is the set. Its methods are safe for concurrent use.
type Metrics struct {
	reg prometheus.Registerer

	sandboxRestarts   *prometheus.CounterVec
	reconciles        *prometheus.CounterVec
	reconcileDuration *prometheus.HistogramVec
	convergence       prometheus.Histogram
	boot              *prometheus.HistogramVec
	sourceErrors      *prometheus.GaugeVec
	sourceLastSync    *prometheus.GaugeVec
	sourceCommit      *prometheus.GaugeVec
	pruneHeld         prometheus.Gauge
	suspended         prometheus.Gauge
	sandboxSuspended  *prometheus.GaugeVec
	pluginUp          *prometheus.GaugeVec
	pluginRestarts    *prometheus.CounterVec
	probes            *prometheus.CounterVec
	drift             *prometheus.CounterVec
	queue             *queueMetrics
}

// New makes the set and registers it, and the Go and process collectors, with
// reg. A set that is registered twice panics, as prometheus.MustRegister does.
func New(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		reg: reg,
		sandboxRestarts: counterVec("sandbox_restarts_total",
			"Restarts of a sandbox's containers, by whatever cause.", "namespace", "name", "container"),
		reconciles: counterVec("reconcile_total",
			"Reconciles of objects by result: success, requeue or error.", "kind", "result"),
		reconcileDuration: histogramVec("reconcile_duration_seconds",
			"How long one reconcile of an object took.",
			[]float64{.001, .005, .025, .1, .5, 1, 5, 30}, "kind"),
		convergence: prometheus.NewHistogram(histogramOpts("convergence_seconds",
			"Time from a new or changed sandbox manifest being seen to the sandbox being Ready.",
			[]float64{.25, .5, 1, 2, 4, 8, 16, 32, 64, 128, 256})),
		boot: histogramVec("boot_seconds",
			"Time from the start of a sandbox's bootstrap to each stage of its boot.",
			[]float64{.1, .25, .5, 1, 1.5, 2, 3, 5, 10, 20, 60}, "runtime", "stage"),
		sourceErrors: gaugeVec("source_errors",
			"Errors in the manifests at the last look.", "source"),
		sourceLastSync: gaugeVec("source_last_sync_timestamp_seconds",
			"Unix time of the last complete look at the manifests.", "source"),
		sourceCommit: gaugeVec("source_commit_info",
			"Always 1; tells the commit of a Git repository that is in force.", "source", "commit"),
		pruneHeld: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "prune_held",
			Help: "Objects whose removal is held until it is confirmed."}),
		suspended: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "suspended",
			Help: "Whether reconciling is suspended as a whole (1) or not (0)."}),
		sandboxSuspended: gaugeVec("sandbox_suspended",
			"1 for a sandbox whose manifest is not followed because a user suspended its reconciling.", "namespace", "name"),
		pluginUp: gaugeVec("plugin_up",
			"Whether the plugin can run sandboxes on this host (1) or not (0).", "plugin"),
		pluginRestarts: counterVec("plugin_restarts_total",
			"Plugin processes started again after they ended unasked.", "plugin"),
		probes: counterVec("probe_total",
			"Probes of containers by type (startup, liveness or readiness) and result: successful, failed or unknown.", "probe_type", "result"),
		drift: counterVec("drift_total",
			"Changes that nobody asked for, seen and repaired, by what changed: vm, plugin or disk.", "kind"),
		queue: newQueueMetrics(),
	}
	for _, kind := range []string{DriftVM, DriftPlugin, DriftDisk} {
		m.drift.WithLabelValues(kind) // so that the first one counts as an increase
	}
	build := gaugeVec("build_info",
		"Always 1; tells the daemon's version and that of Go it was built with.", "version", "goversion")
	build.WithLabelValues(version.String(), runtime.Version()).Set(1)

	reg.MustRegister(m.sandboxRestarts,
		m.reconciles, m.reconcileDuration, m.convergence, m.boot,
		m.sourceErrors, m.sourceLastSync, m.sourceCommit, m.pruneHeld, m.suspended, m.sandboxSuspended, m.pluginUp, m.pluginRestarts, m.drift, m.probes, build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.queue.register(reg)
	return m
}

func phases() []manifests.Phase {
	return []manifests.Phase{
		manifests.PhasePending, manifests.PhaseStarting, manifests.PhaseRunning, manifests.PhasePaused,
		manifests.PhaseStopping, manifests.PhaseStopped, manifests.PhaseSucceeded, manifests.PhaseFailed,
	}
}

// AddRestart counts a restart of a container.
func (m *Metrics) AddRestart(key manifests.Key, container string) {
	m.sandboxRestarts.WithLabelValues(key.Namespace, key.Name, container).Inc()
}

// Probed counts a probe of a container.
func (m *Metrics) Probed(probeType, result string) {
	m.probes.WithLabelValues(probeType, result).Inc()
}

// Forget removes every series of a sandbox that is gone.
func (m *Metrics) Forget(key manifests.Key) {
	l := prometheus.Labels{"namespace": key.Namespace, "name": key.Name}
	m.sandboxRestarts.DeletePartialMatch(l)
	m.sandboxSuspended.DeletePartialMatch(l)
}

// Reconciled counts a reconcile of an object of a kind, with one of the Results.
func (m *Metrics) Reconciled(kind, result string, took time.Duration) {
	m.reconciles.WithLabelValues(kind, result).Inc()
	m.reconcileDuration.WithLabelValues(kind).Observe(took.Seconds())
}

// Converged notes that a sandbox became Ready so long after its manifest was
// seen, and the trace that tells how, if there is one: it becomes an exemplar.
func (m *Metrics) Converged(took time.Duration, traceID string) {
	if h, ok := m.convergence.(prometheus.ExemplarObserver); ok && traceID != "" {
		h.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	m.convergence.Observe(took.Seconds())
}

// Booted notes that a sandbox reached a stage (one of drivers' Stage names) so
// long after its bootstrap began.
func (m *Metrics) Booted(runtime, stage string, after time.Duration) {
	m.boot.WithLabelValues(runtime, stage).Observe(after.Seconds())
}

// SetSourceErrors tells how many errors a source's manifests have.
func (m *Metrics) SetSourceErrors(source string, n int) {
	m.sourceErrors.WithLabelValues(source).Set(float64(n))
}

// SetSourceSynced tells when a source was last looked at completely.
func (m *Metrics) SetSourceSynced(source string, at time.Time) {
	m.sourceLastSync.WithLabelValues(source).Set(float64(at.UnixMilli()) / 1000)
}

// SetSourceCommit tells which commit of a source is in force.
func (m *Metrics) SetSourceCommit(source, commit string) {
	m.sourceCommit.DeletePartialMatch(prometheus.Labels{"source": source})
	m.sourceCommit.WithLabelValues(source, commit).Set(1)
}

// SetPruneHeld tells how many removals are held.
func (m *Metrics) SetPruneHeld(n int) { m.pruneHeld.Set(float64(n)) }

// SetSuspended tells whether reconciling is suspended as a whole.
func (m *Metrics) SetSuspended(suspended bool) { m.suspended.Set(number(suspended)) }

// SetSandboxSuspended tells whether the reconciling of one sandbox is suspended.
func (m *Metrics) SetSandboxSuspended(key manifests.Key, suspended bool) {
	if !suspended {
		m.sandboxSuspended.DeleteLabelValues(key.Namespace, key.Name)
		return
	}
	m.sandboxSuspended.WithLabelValues(key.Namespace, key.Name).Set(1)
}

// SetPluginUp tells whether a plugin can run sandboxes on this host.
func (m *Metrics) SetPluginUp(plugin string, up bool) {
	m.pluginUp.WithLabelValues(plugin).Set(number(up))
}

// AddPluginRestart counts a plugin process started again after it ended unasked.
func (m *Metrics) AddPluginRestart(plugin string) {
	m.pluginRestarts.WithLabelValues(plugin).Inc()
}

// AddDrift counts a change of one of the Drift kinds that nobody asked for.
func (m *Metrics) AddDrift(kind string) { m.drift.WithLabelValues(kind).Inc() }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogramVec(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogramOpts(name, help, buckets), labels)
}

// histogramOpts describes a native histogram that also has a few classic
// buckets, for those who scrape the text format.
func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}
