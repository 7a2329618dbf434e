package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
)

// publish makes the status say what is true now, keeps it on disk and tells
// those who watch, if it has changed. o.mu is held.
func (m *Manager) publish(o *object, d Desired, refs referred, now time.Time) error {
	if o.attach == AttachUnknown {
		// Nothing is known yet that the status kept on disk does not say better.
		m.show(o)
		return nil
	}
	f := o.facts(d, refs, now)
	f.network = m.networkFact(o)
	st := f.status()
	st.PodIPs, st.Networks = m.addresses(o)
	if d.Goal == GoalHold && !o.intent.known {
		// Not looked at yet: what is meant to be is as it was.
		st.Conditions = o.status.Conditions
		if o.attach != AttachUp {
			st.Phase = o.status.Phase
		}
	}
	st.Source = &manifests.Source{Position: o.record.Source, Revision: o.revision}
	if o.vmUp {
		t := metav1.NewTime(o.vmStarted)
		st.StartTime = &t
	}
	st.Runtime = m.runtimeStatus(o)
	o.noteApplied(&st, d, now)
	o.status = st
	o.progressed(now)
	m.measureReady(o, now)
	m.show(o)
	// They begin the status's: one of each is enough.
	o.stages = o.status.Runtime.Stages[:len(o.stages):len(o.stages)]
	if o.op != nil {
		// It is kept once the step has ended. A daemon that starts meanwhile finds
		// out how things are; what it must know is in the record.
		return nil
	}
	if err := o.saveStatus(); err != nil {
		return fmt.Errorf("keep the status of %s: %w", o.key, err)
	}
	return nil
}

func (o *object) facts(d Desired, refs referred, now time.Time) facts {
	f := facts{
		now: now, generation: o.record.Generation, desired: d, attach: o.attach, snapshot: o.snapshot,
		vmUp: o.vmUp, survivor: o.survivor(),
		outcome: o.record.Outcome, problem: o.intent.problem, missing: slices.Concat(refs.missing, refs.busy), waiting: refs.waiting,
		deadline: o.deadline(), deadlineAfter: o.progressDeadline(), unready: o.unready(),
		old: o.status.Conditions,
	}
	f.paused = "operatingMode is Paused"
	if o.record.Overrides.Paused {
		f.paused = `paused by a user; "vzctl resume" lets it run again`
	}
	if o.attach != AttachUp {
		f.snapshot.State = ""
	}
	f.failedVerb, f.failure = o.lastFailure()
	if lost := o.volumesLost(); lost != nil {
		f.problem = lost
	} else if f.failure != nil {
		_ = errors.As(f.failure.err, &f.problem)
	}
	if o.diskError != nil {
		f.problem = &problem{ReasonDiskError, o.diskError.Error()}
	}
	if o.vmBackoff.delay > 0 && !o.vmUp {
		f.lost, f.lostReason = "the virtual machine was lost", ReasonVMLost
		if o.neverRan {
			f.lost, f.lostReason = "no container could be started", ReasonNotBooted
		}
		f.lost += "; back-off until " + o.vmBackoff.until.Local().Format(time.TimeOnly)
	}
	f.images = o.imagesFor == o.record.BuildHash || o.record.Built != nil && o.record.Built.BuildHash == o.record.BuildHash
	if o.op != nil {
		f.action, f.note = &o.op.action, o.op.note
	}
	f.inits = o.containerStatuses(o.spec().PodTemplate.Spec.InitContainers)
	f.containers = o.containerStatuses(o.spec().PodTemplate.Spec.Containers)
	if f.initialising() {
		initializing(f.inits)
		initializing(f.containers)
	}
	return f
}

// initializing says of containers that wait for their first run that init
// containers come before them.
func initializing(statuses []corev1.ContainerStatus) {
	for i := range statuses {
		if w := statuses[i].State.Waiting; w != nil && w.Reason == reasonCreating {
			statuses[i].State = waiting(reasonInitializing, "")
		}
	}
}

func (o *object) containerStatuses(specs []corev1.Container) []corev1.ContainerStatus {
	if len(specs) == 0 {
		return nil
	}
	statuses := make([]corev1.ContainerStatus, 0, len(specs))
	for _, spec := range specs {
		c := o.containers.get(spec.Name)
		if c == nil {
			c = newContainer(spec)
		}
		cs := c.status
		if o.record.Built != nil {
			cs.ImageID = o.record.Built.Images[spec.Image]
		}
		statuses = append(statuses, cs)
	}
	return statuses
}

func (m *Manager) runtimeStatus(o *object) *manifests.RuntimeStatus {
	rs := &manifests.RuntimeStatus{Name: m.runtimeOf(o.record.Sandbox)}
	rs.Stages = append(make([]manifests.Stage, 0, len(o.stages)+len(o.snapshot.Timeline)), o.stages...)
	if o.attach != AttachUp {
		return rs
	}
	rs.PluginPID = o.instance.PID()
	if b := o.record.Built; b != nil {
		rs.Name = b.Runtime
	}
	if mc := o.snapshot.Machine; mc != nil && o.vmUp {
		rs.HypervisorPID, rs.Hypervisor, rs.Machine = mc.PID, mc.Hypervisor, mc.Type
		rs.AcceleratorReason = mc.AcceleratorReason
		rs.Accelerator, rs.KernelVersion, rs.BootID = mc.Accelerator, mc.KernelVersion, mc.BootID
	}
	for _, s := range o.snapshot.Timeline {
		rs.Stages = append(rs.Stages, manifests.Stage{Name: s.Name, Time: microTime(s.Time)})
	}
	return rs
}

// measureReady tells metrics and events that the sandbox became Ready, or is not
// any more.
func (m *Manager) measureReady(o *object, now time.Time) {
	ready := isTrue(o.status.Conditions, manifests.ConditionReady)
	if ready && !o.wasReady {
		m.event(o.key, eventNormal, "Ready", "every container is ready")
	}
	if ready && !o.since.IsZero() {
		m.opts.Metrics.Converged(now.Sub(o.since), m.traceConvergence(o, now))
		o.since = time.Time{}
	}
	o.wasReady = ready
	m.opts.Metrics.SetSandboxSuspended(o.key, !o.record.Overrides.SuspendedAt.IsZero())
}

// measured tells the metrics about each sandbox.
func (m *Manager) measured(yield func(metrics.Sandbox) bool) {
	for _, o := range m.allObjects() {
		v := o.view.Load()
		if v == nil {
			continue
		}
		s := metrics.Sandbox{Key: o.key, Phase: v.status.Phase, Ready: isTrue(v.status.Conditions, manifests.ConditionReady)}
		if rt := v.status.Runtime; rt != nil {
			s.Runtime = rt.Name
		}
		if cs := v.status.ContainerStatuses; len(cs) > 0 {
			s.Image = cs[0].Image
		}
		if !yield(s) {
			return
		}
	}
}

func isTrue(conditions []metav1.Condition, typ string) bool {
	for _, c := range conditions {
		if c.Type == typ {
			return c.Status == metav1.ConditionTrue
		}
	}
	return false
}

// showProblem shows an object of which nothing is applied: the manifests that
// name it cannot be followed, or its record cannot be read or written. o.mu is
// held.
func (m *Manager) showProblem(o *object, now time.Time) {
	p := o.intent.problem
	switch {
	case o.unreadable != "":
		p = &problem{ReasonRecordUnreadable, o.unreadable + ": mend or remove the file; until then the sandbox is left alone"}
	case o.diskError != nil:
		p = &problem{ReasonDiskError, o.diskError.Error()}
	case p == nil:
		return
	}
	f := facts{now: now, desired: Desired{Goal: GoalHold}, attach: AttachNone, problem: p, old: o.status.Conditions}
	o.status = f.status()
	m.show(o)
}

// show replaces what the API shows, if it has changed.
func (m *Manager) show(o *object) {
	v := &view{key: o.key, status: o.status, problem: o.intent.problem}
	v.known = o.record != nil && o.intent.known && o.attach != AttachUnknown
	if r := o.record; r != nil {
		v.apiVersion, v.kind, v.manifest = r.APIVersion, r.Kind, r.Manifest
		v.labels, v.sandbox = r.Sandbox.Labels, r.Sandbox
		v.uid, v.generation, v.created, v.deleted = r.UID, r.Generation, r.CreationTimestamp, r.DeletionTimestamp
		v.source, v.owner, v.revision = r.Source, r.Owner, o.revision
	} else if obj := o.intent.object; obj != nil {
		v.apiVersion, v.kind, v.manifest, v.source = obj.APIVersion, obj.Kind, obj.Manifest, obj.Position
		v.labels, v.sandbox = obj.Sandbox.Labels, obj.Sandbox
	} else {
		v.apiVersion, v.kind = manifests.APIVersion, manifests.KindSandbox
	}
	was := o.view.Load()
	if was != nil && was.equal(v) {
		o.status = was.status // so that there is one of it
		if was.sandbox != v.sandbox {
			v.status = was.status
			o.view.Store(v)
		}
		return
	}
	o.view.Store(v)
	m.mu.Lock()
	if was != nil {
		m.countPhase(was.status.Phase, -1)
	}
	m.countPhase(v.status.Phase, 1)
	m.wakeUsers(o.key)
	m.mu.Unlock()
	m.hub.changed(o.key)
	m.wakeOwner(&o.managed)
}

// countPhase keeps the count of sandboxes by phase. m.mu is held.
func (m *Manager) countPhase(p manifests.Phase, by int) {
	m.phases[p] += by
}
