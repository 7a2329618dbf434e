package reconciler

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/reconciler/probe"
)

// probeType tells the three kinds of probe apart, by the kubelet's words.
type probeType string

const (
	probeStartup   probeType = "startup"
	probeLiveness  probeType = "liveness"
	probeReadiness probeType = "readiness"
)

// probes are those of a container; nil is none.
type probes struct {
	startup, liveness, readiness *corev1.Probe
}

// fresh is the health of a run that has just begun.
func (p probes) fresh() health {
	return health{started: p.startup == nil, ready: p.readiness == nil}
}

// health is what is known of a run of a container. A run that no probe asks is
// started and ready from the first moment.
type health struct {
	// started says that the startup probe has succeeded: the others begin then.
	started bool
	// ready is what the readiness probe has said.
	ready bool
	// failed is set when the run must be ended.
	failed *unhealthy
	// message is why it is not started or not ready.
	message string
}

// unhealthy is the verdict of a startup or liveness probe.
type unhealthy struct {
	probe   probeType
	message string
	// grace is the probe's own grace period; nil means the sandbox's.
	grace *int64
}

// showHealth makes the status of a container that runs say how it is.
func (c *container) showHealth() {
	if c.probes.startup == nil {
		c.health.started = true
	}
	if c.probes.readiness == nil {
		c.health.ready = true
	}
	started := c.health.started
	c.status.Started = &started
	c.status.Ready = started && c.health.ready && c.health.failed == nil && !c.init
}

// unready returns why containers that run are not ready, by name.
func (o *object) unready() map[string]string {
	var why map[string]string
	for _, c := range o.containers {
		if c.status.State.Running == nil || c.status.Ready || c.init {
			continue
		}
		name := c.status.Name
		if why == nil {
			why = map[string]string{}
		}
		switch h := c.health; {
		case h.failed != nil:
			why[name] = h.failed.message
		case h.message != "":
			why[name] = h.message
		case !h.started:
			why[name] = "its startup probe has not succeeded yet"
		default:
			why[name] = "its readiness probe has not succeeded yet"
		}
	}
	return why
}

// judge draws the consequence of a probe's answer. It reports whether the probe
// is to go on.
func (c *container) judge(typ probeType, spec *corev1.Probe, r probe.Result, decided bool) (goOn bool) {
	h := &c.health
	message := string(typ) + " probe failed: " + r.Message
	switch {
	case r.Outcome == probe.Unknown:
		return true
	case r.Outcome == probe.Failure && typ != probeLiveness:
		h.message = message
	}
	if !decided {
		return true
	}
	switch success := r.Outcome == probe.Success; {
	case typ == probeReadiness:
		h.ready = success
		if success {
			h.message = ""
		}
	case !success:
		h.failed = &unhealthy{typ, message, spec.TerminationGracePeriodSeconds}
		c.showHealth()
		return false
	case typ == probeStartup:
		h.started, h.message = true, ""
		c.showHealth()
		return false // The others begin.
	}
	c.showHealth()
	return true
}

// probeReport is what an event says of an answer that is no success. What the
// guest said, which may differ each time, is told in full where that is asked for,
// and not when it may hold secrets.
func (o *object) probeReport(key proberKey, r probe.Result, full bool) string {
	text := "container " + key.container + ": " + string(key.probe) + " probe failed: " + r.Message
	if r.Outcome == probe.Unknown {
		text = "container " + key.container + ": " + string(key.probe) + " probe: " + r.Message
	}
	switch {
	case r.Output == "" || !full:
	case o.takesSecrets():
		text += " (what it said is not shown: the sandbox has Secrets)"
	default:
		text += ": " + r.Output
	}
	return text
}

// spread is the longest random delay before the first question. What runs since
// before this daemon is asked some time within a period: thousands of sandboxes
// are taken over at once. What it has started itself begins when it does.
func (m *Manager) spread(since time.Time, p *corev1.Probe) time.Duration {
	period := time.Duration(p.PeriodSeconds) * time.Second
	if since.Before(m.started) {
		return period
	}
	return min(period/10, time.Second)
}
