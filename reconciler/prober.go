package reconciler

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/probe"
)

// prober asks one run of a container again and again, in a goroutine of its own.
type prober struct {
	proberKey

	spec     *corev1.Probe // with a number for each port
	since    time.Time     // when the run began
	instance Instance
	cancel   context.CancelFunc
}

// proberKey tells the probers of an object apart.
type proberKey struct {
	container string
	probe     probeType
}

// syncProbers begins and ends probers until there are those that there should be.
// o.mu is held.
func (m *Manager) syncProbers(o *object) {
	wanted := o.wantedProbers()
	for key, p := range o.probers {
		w, ok := wanted[key]
		if ok && w.instance == p.instance && w.since.Equal(p.since) && reflect.DeepEqual(w.spec, p.spec) {
			delete(wanted, key)
			continue
		}
		p.cancel()
		delete(o.probers, key)
	}
	for key, p := range wanted {
		if o.probers == nil {
			o.probers = map[proberKey]*prober{}
		}
		o.probers[key] = p
		m.beginProber(o, p)
	}
}

// stopProbers ends them all. o.mu is held.
func (o *object) stopProbers() {
	for key, p := range o.probers {
		p.cancel()
		delete(o.probers, key)
	}
}

// wantedProbers are those that should ask now. Nothing is asked while the VM is
// paused, or on its way there or down: what is known then stands.
func (o *object) wantedProbers() map[proberKey]*prober {
	if o.attach != AttachUp || o.snapshot.State != drivers.StateRunning || o.ending || o.record.DeletionTimestamp != nil {
		return nil
	}
	if o.op != nil && slices.Contains([]Verb{ActPause, ActStop, ActShutdown, ActCleanUp}, o.op.action.Verb) {
		return nil
	}
	var wanted map[proberKey]*prober
	for _, c := range o.containers {
		if c.init || c.status.State.Running == nil || c.health.failed != nil {
			continue
		}
		want := func(typ probeType, spec *corev1.Probe, now bool) {
			if spec == nil || !now {
				return
			}
			if wanted == nil {
				wanted = map[proberKey]*prober{}
			}
			name := c.status.Name
			key := proberKey{name, typ}
			wanted[key] = &prober{proberKey: key, spec: o.withPorts(name, spec), since: c.started, instance: o.instance}
		}
		want(probeStartup, c.probes.startup, !c.health.started)
		want(probeLiveness, c.probes.liveness, c.health.started)
		want(probeReadiness, c.probes.readiness, c.health.started)
	}
	return wanted
}

// withPorts returns a probe that names no port but by its number.
func (o *object) withPorts(container string, spec *corev1.Probe) *corev1.Probe {
	number := func(port intstr.IntOrString) intstr.IntOrString {
		if port.Type == intstr.Int {
			return port
		}
		for _, c := range o.spec().PodTemplate.Spec.Containers {
			for _, p := range c.Ports {
				if c.Name == container && p.Name == port.StrVal {
					return intstr.FromInt32(p.ContainerPort)
				}
			}
		}
		return port
	}
	switch {
	case spec.HTTPGet != nil && spec.HTTPGet.Port.Type == intstr.String:
		spec = spec.DeepCopy()
		spec.HTTPGet.Port = number(spec.HTTPGet.Port)
	case spec.TCPSocket != nil && spec.TCPSocket.Port.Type == intstr.String:
		spec = spec.DeepCopy()
		spec.TCPSocket.Port = number(spec.TCPSocket.Port)
	}
	return spec
}

// beginProber lets a prober ask. o.mu is held.
func (m *Manager) beginProber(o *object, p *prober) {
	ctx, cancel := context.WithCancel(m.life)
	p.cancel = cancel
	loop := probe.Loop{
		Probe: p.spec, Since: p.since, Spread: m.spread(p.since, p.spec),
		Ask:  func(ctx context.Context) probe.Result { return m.ask(ctx, o, p) },
		Take: func(r probe.Result, decided bool) bool { return m.takeAnswer(o, p, r, decided) },
	}
	if !m.spawn(func() {
		defer cancel()
		loop.Run(ctx)
	}) {
		cancel()
	}
}

// ask asks once.
func (m *Manager) ask(ctx context.Context, o *object, p *prober) probe.Result {
	req := probe.Request{Probe: p.spec, Container: p.container}
	if p.spec.Exec != nil {
		c, err := o.configuredContainer(p.container)
		if err != nil {
			return probe.Result{Message: "the container's configuration cannot be read", Output: err.Error()}
		}
		req.Process = c.Process
	}
	return probe.Do(ctx, p.instance, req)
}

// takeAnswer draws the consequences of an answer, unless it comes from a prober
// that has been ended meanwhile.
func (m *Manager) takeAnswer(o *object, p *prober, r probe.Result, decided bool) (goOn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.containers.get(p.container)
	if o.probers[p.proberKey] != p || c == nil || c.status.State.Running == nil {
		return false
	}
	m.opts.Metrics.Probed(string(p.probe), r.Outcome.String())
	before := c.health
	goOn = c.judge(p.probe, p.spec, r, decided)
	changed := c.health != before
	if r.Outcome != probe.Success {
		m.opts.Events.Record(o.key, eventWarning, ReasonUnhealthy, o.probeReport(p.proberKey, r, changed || r.Outcome == probe.Unknown))
	}
	if changed {
		m.log.Debug("probe", "object", o.key.String(), "container", p.container, "probe", string(p.probe), "result", r.Outcome.String())
		m.queue.Add(o.key)
	}
	return goOn
}

// takesSecrets reports whether a Secret's values are in the sandbox.
func (o *object) takesSecrets() bool {
	return slices.ContainsFunc(o.references, func(r manifests.Reference) bool { return r.Key.Kind == manifests.KindSecret })
}

const (
	signalKill = 9
	signalTerm = 15
)

// killContainer ends a container that a probe found unhealthy: its stop signal,
// the grace period, SIGKILL. That it is started again is its restart policy's.
func (m *Manager) killContainer(ctx context.Context, o *object, name string) error {
	o.mu.Lock()
	inst, c := o.instance, o.containers.get(name)
	if inst == nil || c == nil || c.health.failed == nil {
		o.mu.Unlock()
		return nil // The world has changed: look again.
	}
	failed, grace := *c.health.failed, o.gracePeriod()
	o.mu.Unlock()
	if failed.grace != nil {
		grace = time.Duration(*failed.grace) * time.Second
	}
	cfg, err := o.configuredContainer(name)
	if err != nil {
		return err
	}
	signal := cfg.StopSignal
	if signal == 0 {
		signal = signalTerm
	}
	m.event(o.key, eventNormal, ReasonKilling, "container %s failed its %s probe and is ended", name, failed.probe)
	defer m.refresh(ctx, o, inst)
	if err := inst.Kill(ctx, name, signal); err != nil {
		return fmt.Errorf("end container %s: %w", name, err)
	}
	if waitAtMost(ctx, inst, name, grace) == nil {
		return nil
	}
	if err := inst.Kill(ctx, name, signalKill); err != nil {
		return fmt.Errorf("kill container %s: %w", name, err)
	}
	if err := waitAtMost(ctx, inst, name, endTimeout); err != nil {
		return fmt.Errorf("wait for the end of container %s: %w", name, err)
	}
	return nil
}

func waitAtMost(ctx context.Context, inst Instance, id string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_, err := inst.Wait(ctx, id)
	return err
}
