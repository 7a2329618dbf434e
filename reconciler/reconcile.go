package reconciler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
)

const (
	eventNormal  = events.Normal
	eventWarning = events.Warning
)

// reconcile looks at one object once: it takes in what the manifests and the
// plugin process say, begins the next step, and shows what is true now. It waits
// for nothing but small files. again is when to look next though nothing happens.
func (m *Manager) reconcile(key manifests.Key) (again time.Time, err error) {
	o := m.object(key)
	if o == nil {
		return time.Time{}, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead {
		return time.Time{}, nil
	}
	now := time.Now()
	// What cannot be kept on disk is tried again, but must not keep a sandbox that
	// runs from being looked after.
	o.diskError = m.accept(o, now)
	if o.record == nil && o.diskError != nil {
		m.showProblem(o, now)
		return time.Time{}, o.diskError
	}
	if o.record == nil {
		if o.unreadable == "" && o.intent.known && !o.intent.wants() {
			m.forget(o)
			return time.Time{}, nil
		}
		m.showProblem(o, now)
		return time.Time{}, nil
	}
	o.diskError = errors.Join(o.diskError, m.takeIn(o, now))

	d, refs := m.desired(o)
	goal := goalKey{d.Goal, o.record.BuildHash, refs.hash, refs.pull, o.record.Overrides.RestartedAt}
	if goal != o.goal {
		o.goal = goal
		clear(o.failures)
	}
	if o.attach == AttachNone && o.op == nil && (!goal.goal.up() || o.record.Outcome != nil || d.Yields) {
		m.detachClaims(o)
	}
	ob := m.observed(o, refs, now)
	if d.Goal.up() && ob.Prepared && o.attach == AttachNone {
		m.awaitClaims(o, refs.holders)
	} else {
		m.awaitClaims(o, nil)
	}
	p := plan(d, ob)
	if o.op != nil {
		if o.op.goal != goal && o.op.interruptible() {
			o.op.cancel()
		}
	} else if len(p.Actions) > 0 && m.ready(o, p.Actions[0]) {
		m.begin(o, p.Actions[0], goal)
	}
	m.syncProbers(o)
	m.syncNetworks(o)
	o.keepProgress(d, now)
	err = errors.Join(o.diskError, m.publish(o, d, refs, now))
	again = earliest(p.Again, o.expiry(now))
	if at := o.deadline(); at.After(now) {
		again = earliest(again, at)
	}
	return again, err
}

// ready reports whether a step can be taken: that to a new VM needs the sandbox's
// volumes. o.mu is held.
func (m *Manager) ready(o *object, a Action) bool {
	if a.Verb != ActLaunch && a.Verb != ActBootstrap || o.survivor() || m.attachClaims(o) {
		return true
	}
	m.queue.Add(o.key) // Another was faster: wait for it.
	return false
}

// accept makes the record say what the manifests want, if they want anything
// that can be followed.
func (m *Manager) accept(o *object, now time.Time) error {
	in := o.intent
	if !in.known || o.unreadable != "" {
		return nil
	}
	r := o.record
	switch {
	case r == nil && in.object == nil:
		return nil
	case r == nil:
		if err := m.create(o, in, now); err != nil {
			return err
		}
		o.revision = in.object.Revision
		return nil
	case r.DeletionTimestamp != nil:
		return nil // What the manifests say now is for its successor.
	case in.gone:
		next := *r
		deleted := metav1.NewTime(now.Truncate(time.Second))
		next.DeletionTimestamp = &deleted
		if err := m.replaceRecord(o, &next); err != nil {
			return err
		}
		m.event(o.key, eventNormal, ReasonDeleting, "%s: the sandbox is removed", in.end())
		return nil
	case in.object == nil, !r.Overrides.SuspendedAt.IsZero():
		return nil
	}
	if err := m.update(o, in, now); err != nil {
		return err
	}
	o.revision = in.object.Revision
	return nil
}

func (m *Manager) create(o *object, in intent, now time.Time) error {
	obj := in.object
	r := &Record{
		Version: recordVersion, Key: o.key, UID: newUID(), Generation: 1,
		CreationTimestamp: metav1.NewTime(now.Truncate(time.Second)),
		SpecHash:          obj.Sandbox.SpecHash(),
		APIVersion:        obj.APIVersion, Kind: obj.Kind, Source: obj.Position, Revision: obj.Revision,
		Manifest: obj.Manifest, Sandbox: obj.Sandbox, Owner: in.owner,
	}
	if in.uid != "" {
		r.UID = in.uid
	}
	r.BuildHash = r.SpecHash
	if err := m.replaceRecord(o, r); err != nil {
		return err
	}
	if _, err := os.Stat(o.bundle.ReattachFile()); errors.Is(err, fs.ErrNotExist) {
		o.attach = AttachNone
	}
	o.status = manifests.SandboxStatus{}
	o.since = in.seen
	o.newStart(in.seen)
	m.refer(o)
	m.event(o.key, eventNormal, "Created", "accepted from %s", in.origin())
	return nil
}

func (m *Manager) update(o *object, in intent, now time.Time) error {
	r, obj := o.record, in.object
	owned := in.owner == nil || r.Owner != nil && r.Owner.UID == in.owner.UID
	if owned && r.Source == obj.Position && r.APIVersion == obj.APIVersion && r.Kind == obj.Kind && string(r.Manifest) == string(obj.Manifest) &&
		sameTemplates(r.Sandbox, obj.Sandbox) {
		if r.Sandbox != obj.Sandbox { // read from disk by this daemon: one of them is enough
			next := *r
			next.Manifest, next.Sandbox = obj.Manifest, obj.Sandbox
			o.record = &next
			m.refer(o)
		}
		return nil
	}
	next := *r
	next.APIVersion, next.Kind, next.Source = obj.APIVersion, obj.Kind, obj.Position
	next.Manifest, next.Sandbox, next.Owner, next.Revision = obj.Manifest, obj.Sandbox, in.owner, obj.Revision
	next.SpecHash = obj.Sandbox.SpecHash()
	changed := next.SpecHash != r.SpecHash
	var diff manifests.Change
	if changed {
		next.Generation++
		diff = manifests.Classify(r.Sandbox, obj.Sandbox)
		if diff.Class > manifests.ChangeLive {
			next.BuildHash = next.SpecHash
		}
		if b := next.Built; b != nil && b.LiveHash == "" { // by an earlier version
			built := *b
			built.LiveHash = bundle.LiveHash(r.Sandbox)
			next.Built = &built
		}
		policy := obj.Sandbox.Spec.PodTemplate.Spec.RestartPolicy
		if diff.Class > manifests.ChangeLive || policy != r.Sandbox.Spec.PodTemplate.Spec.RestartPolicy {
			next.Outcome = nil
		}
	}
	if err := m.replaceRecord(o, &next); err != nil {
		return err
	}
	claims := o.claims
	m.refer(o)
	m.reclaimTemplates(o.key.Namespace, claims)
	if !changed {
		return nil
	}
	o.since = in.seen
	o.change.add(diff)
	if r.Outcome != nil && next.Outcome == nil {
		for _, c := range o.containers {
			c.stopped(drivers.ProcessStatus{}, now)
		}
	}
	if diff.Class > manifests.ChangeLive {
		o.newStart(in.seen)
	}
	paths := make([]string, 0, len(diff.Fields))
	for _, f := range diff.Fields {
		paths = append(paths, f.Path)
	}
	m.event(o.key, eventNormal, "Updated", "%s changed (%s)", strings.Join(paths, ", "), diff.Class)
	return nil
}

// replaceRecord writes a new record and then makes it the object's.
func (m *Manager) replaceRecord(o *object, next *Record) error {
	was := o.record
	o.record = next
	if err := m.persist(o); err != nil {
		o.record = was
		return fmt.Errorf("keep the record of %s: %w", o.key, err)
	}
	return nil
}

// newStart begins a new list of stages.
func (o *object) newStart(seen time.Time) {
	o.stages = o.stages[:0:0]
	o.stage(stageSeen, seen)
}

// desired says what should be of a sandbox with a record.
func (m *Manager) desired(o *object) (Desired, referred) {
	r := o.record
	refs := m.resolve(o)
	d := Desired{Goal: GoalRun, Blocked: len(refs.missing) > 0}
	switch {
	case r.DeletionTimestamp != nil:
		d.Goal = GoalDelete
	case !o.intent.known:
		d.Goal = GoalHold
	case o.expired(time.Now()):
		d.Goal, d.Purge = GoalExpire, *r.Sandbox.Spec.ShutdownPolicy == manifests.ShutdownPolicyDelete
	case r.Overrides.Stopped:
		d.Goal = GoalStop
	case r.Sandbox.Spec.OperatingMode == manifests.OperatingModeSuspended:
		d.Goal = GoalSuspend
	case r.Overrides.Paused || r.Sandbox.Spec.OperatingMode == manifests.OperatingModePaused:
		d.Goal = GoalPause
	}
	refs.waiting = m.waitingFor(o, d.Goal)
	d.Waiting = len(refs.waiting) > 0 || d.Goal.up() && len(refs.busy) > 0
	for _, c := range r.Sandbox.Spec.PodTemplate.Spec.InitContainers {
		d.InitContainers = append(d.InitContainers, c.Name)
	}
	for _, c := range r.Sandbox.Spec.PodTemplate.Spec.Containers {
		d.Containers = append(d.Containers, c.Name)
	}
	if b := r.Built; b != nil {
		switch {
		case b.BuildHash != r.BuildHash, !d.Blocked && b.ConfigHash != refs.hash && r.Overrides.SuspendedAt.IsZero():
			d.Rebuild = RebuildNew
		case !b.RestartedAt.Equal(r.Overrides.RestartedAt):
			d.Rebuild = RebuildRestart
		}
		d.Update = b.LiveHash != "" && b.LiveHash != o.live
	}
	// What has no VM, or is to have another, loses nothing by it.
	d.Yields = len(refs.waiting) > 0 && d.Goal.up() && (d.Rebuild != RebuildNone || o.attach == AttachNone) && m.yields(o)
	return d, refs
}

// observed says what is.
func (m *Manager) observed(o *object, refs referred, now time.Time) Observed {
	ob := Observed{
		Now: now, Attach: o.attach, State: o.snapshot.State,
		Processes:  make(map[string]drivers.ProcessState, len(o.snapshot.Processes)),
		Containers: make(map[string]ObservedContainer, len(o.containers)),
		Finished:   o.record.Outcome != nil,
		Disk:       o.record.Built != nil,
		Survivor:   o.survivor(),
		Prepared: o.prepared != nil && o.prepared.spec == o.record.BuildHash && o.prepared.config == refs.hash &&
			o.prepared.live == o.live && o.prepared.runtime == m.runtimeOf(o.record.Sandbox),
		BuildAfter: o.vmBackoff.until,
	}
	for _, p := range o.snapshot.Processes {
		ob.Processes[p.ID] = p.State
	}
	for _, c := range o.containers {
		name := c.status.Name
		p, _ := o.snapshot.Process(name)
		ob.Containers[name] = ObservedContainer{
			Done: c.done, Completed: completed(p), Unhealthy: c.health.failed != nil, StartAfter: c.backoff.until,
		}
	}
	for verb, f := range o.failures {
		switch {
		case slices.Contains(buildVerbs, verb):
			ob.BuildAfter = latest(ob.BuildAfter, f.backoff.until)
		case verb == ActUpdate:
			ob.UpdateAfter = f.backoff.until
		default:
			ob.EndAfter = latest(ob.EndAfter, f.backoff.until)
		}
	}
	return ob
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
