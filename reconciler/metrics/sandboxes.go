package metrics

import (
	"iter"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Sandbox is what the metrics tell about one sandbox.
type Sandbox struct {
	Key   manifests.Key
	Phase manifests.Phase
	// Ready is whether its Ready condition is True.
	Ready bool
	// Runtime and Image, of the first container, are empty while nothing of it was
	// applied.
	Runtime, Image string
}

// CollectSandboxes registers the metrics of the sandboxes themselves. They are
// asked for at each scrape: what is told about thousands need not be kept twice.
// It is called once at most.
func (m *Metrics) CollectSandboxes(all iter.Seq[Sandbox]) {
	m.reg.MustRegister(newSandboxCollector(all))
}

type sandboxCollector struct {
	all                iter.Seq[Sandbox]
	phase, ready, info *prometheus.Desc
}

func newSandboxCollector(all iter.Seq[Sandbox]) *sandboxCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &sandboxCollector{
		all:   all,
		phase: desc("sandboxes", "Sandboxes by phase.", "phase"),
		ready: desc("sandbox_ready", "Whether the sandbox's Ready condition is True (1) or not (0).", "namespace", "name"),
		info:  desc("sandbox_info", "Always 1; tells a sandbox's runtime and the image of its first container.", "namespace", "name", "runtime", "image"),
	}
}

func (c *sandboxCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.phase
	ch <- c.ready
	ch <- c.info
}

func (c *sandboxCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	counts := map[manifests.Phase]int{}
	for s := range c.all {
		counts[s.Phase]++
		if s.Runtime == "" {
			continue
		}
		gauge(c.ready, number(s.Ready), s.Key.Namespace, s.Key.Name)
		gauge(c.info, 1, s.Key.Namespace, s.Key.Name, s.Runtime, s.Image)
	}
	for _, p := range phases() {
		gauge(c.phase, float64(counts[p]), string(p))
	}
}
