package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// defaultUsageTimeout is well within Prometheus's own deadline of 10 s.
const defaultUsageTimeout = 2 * time.Second

// Usage tells the resource use of sandboxes.
type Usage struct {
	// Running lists the sandboxes that can be asked.
	Running func() []manifests.Key
	// Statistics asks one; it should return soon after ctx ends.
	Statistics func(ctx context.Context, key manifests.Key) (drivers.Statistics, error)
	// Timeout is how long one scrape waits for all of them. Default: 2 s.
	Timeout time.Duration
}

// CollectUsage registers the metrics of resource use, asked for at each scrape.
// It is called once at most.
func (m *Metrics) CollectUsage(u Usage) {
	if u.Timeout <= 0 {
		u.Timeout = defaultUsageTimeout
	}
	m.reg.MustRegister(newUsageCollector(u))
}

// usageMetric is one metric of resource use.
type usageMetric struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(drivers.Statistics) float64
}

type usageCollector struct {
	usage   Usage
	metrics []usageMetric

	mu   sync.Mutex
	busy map[manifests.Key]struct{} // asked, and not back yet
}

func newUsageCollector(u Usage) *usageCollector {
	c := &usageCollector{usage: u, busy: map[manifests.Key]struct{}{}}
	add := func(name, help string, typ prometheus.ValueType, value func(drivers.Statistics) float64) {
		desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "sandbox", name), help, []string{"namespace", "name"}, nil)
		c.metrics = append(c.metrics, usageMetric{desc, typ, value})
	}
	add("cpu_seconds_total", "CPU time used in the sandbox's VM since it booted.", prometheus.CounterValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.CPUUsec) / 1e6 })
	add("memory_usage_bytes", "Memory in use in the sandbox's VM.", prometheus.GaugeValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.MemoryBytes) })
	add("memory_limit_bytes", "Memory the sandbox's VM has.", prometheus.GaugeValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.MemoryLimitBytes) })
	add("host_memory_bytes", "Resident memory of the sandbox's hypervisor process on the host.", prometheus.GaugeValue,
		func(s drivers.Statistics) float64 { return float64(s.HostMemoryBytes) })
	add("processes", "Processes in the sandbox's VM.", prometheus.GaugeValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.Processes) })
	add("block_read_bytes_total", "Bytes the sandbox's VM read from its disks since it booted.", prometheus.CounterValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.BlockReadBytes) })
	add("block_written_bytes_total", "Bytes the sandbox's VM wrote to its disks since it booted.", prometheus.CounterValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.BlockWriteBytes) })
	add("network_receive_bytes_total", "Bytes the sandbox's VM received over its networks since it booted.", prometheus.CounterValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.NetworkRxBytes) })
	add("network_transmit_bytes_total", "Bytes the sandbox's VM sent over its networks since it booted.", prometheus.CounterValue,
		func(s drivers.Statistics) float64 { return float64(s.Sandbox.NetworkTxBytes) })
	return c
}

func (c *usageCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

// Collect asks all sandboxes at once and sends what comes back in time.
func (c *usageCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.usage.Timeout)
	defer cancel()
	keys := c.begin(c.usage.Running())
	answers := make(chan answer, len(keys)) // room for all: late ones block nobody
	for _, key := range keys {
		go c.ask(ctx, key, answers)
	}
	for range keys {
		select {
		case <-ctx.Done():
			return
		case a := <-answers:
			if a.err != nil {
				continue
			}
			for _, m := range c.metrics {
				ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(a.stats), a.key.Namespace, a.key.Name)
			}
		}
	}
}

type answer struct {
	key   manifests.Key
	stats drivers.Statistics
	err   error
}

func (c *usageCollector) ask(ctx context.Context, key manifests.Key, answers chan<- answer) {
	stats, err := c.usage.Statistics(ctx, key)
	c.mu.Lock()
	delete(c.busy, key)
	c.mu.Unlock()
	answers <- answer{key, stats, err}
}

// begin returns the sandboxes to ask now: not those that still owe an answer to
// an earlier scrape, so that one which never answers costs one goroutine.
func (c *usageCollector) begin(keys []manifests.Key) []manifests.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	var free []manifests.Key
	for _, key := range keys {
		if _, ok := c.busy[key]; !ok {
			c.busy[key] = struct{}{}
			free = append(free, key)
		}
	}
	return free
}
