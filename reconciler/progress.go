package reconciler

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// progress is how long a sandbox has been on its way.
type progress struct {
	// since is when it set out; zero when it is where it should be.
	since time.Time
	// generation and goal are where to; another one begins the time anew.
	generation int64
	goal       goalKey
	// restored says that since comes from an earlier daemon, whose goal is not known.
	restored bool
}

// keepProgress begins the time anew when the sandbox is meant to get elsewhere.
func (o *object) keepProgress(d Desired, now time.Time) {
	p := &o.progress
	switch {
	case d.Goal == GoalHold:
	case !d.Goal.up() || o.record.Outcome != nil:
		*p = progress{}
	case p.restored:
		p.restored, p.generation, p.goal = false, o.record.Generation, o.goal
	case p.generation != o.record.Generation || p.goal != o.goal:
		*p = progress{since: now, generation: o.record.Generation, goal: o.goal}
	}
}

// progressed takes in whether the sandbox, as its status says now, has arrived.
func (o *object) progressed(now time.Time) {
	onTheWay := isTrue(o.status.Conditions, manifests.ConditionReconciling) || isTrue(o.status.Conditions, manifests.ConditionStalled)
	switch {
	case !onTheWay:
		o.progress.since = time.Time{}
	case o.progress.since.IsZero():
		o.progress.since = now
	}
}

// restoreProgress goes on from a status that an earlier daemon kept.
func (o *object) restoreProgress() {
	p := progress{generation: o.record.Generation, restored: true}
	if c := meta.FindStatusCondition(o.status.Conditions, manifests.ConditionReconciling); c != nil && c.ObservedGeneration == o.record.Generation {
		p.since = c.LastTransitionTime.Time
	}
	if c := meta.FindStatusCondition(o.status.Conditions, manifests.ConditionStalled); c != nil && c.Reason == ReasonProgressDeadlineExceeded {
		p.since = c.LastTransitionTime.Add(-o.progressDeadline())
	}
	o.progress = p
}

// deadline is when the sandbox should be Ready; zero if it is, or is not meant to be.
func (o *object) deadline() time.Time {
	if o.progress.since.IsZero() {
		return time.Time{}
	}
	return o.progress.since.Add(o.progressDeadline())
}

func (o *object) progressDeadline() time.Duration {
	if s := o.spec().ProgressDeadlineSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return manifests.DefaultProgressDeadlineSeconds * time.Second
}

// change is what edits have asked for and is not applied yet.
type change struct {
	class  manifests.ChangeClass
	fields []string
}

// maxChangedFields is how many fields a status names.
const maxChangedFields = 20

func (c *change) add(d manifests.Change) {
	c.class = max(c.class, d.Class)
	for _, f := range d.Fields {
		if !slices.Contains(c.fields, f.Path) && len(c.fields) < maxChangedFields {
			c.fields = append(c.fields, f.Path)
		}
	}
}

// noteApplied makes a status say which generation is applied, and what the last
// one was about. A generation that cannot be applied is observed all the same:
// the status is about it.
func (o *object) noteApplied(st *manifests.SandboxStatus, d Desired, now time.Time) {
	st.LastApplied = o.status.LastApplied
	current := d.Rebuild == RebuildNone && (!d.Update || !o.vmUp)
	arrived := o.vmUp || !d.Goal.up() || o.record.Outcome != nil
	applied := d.Goal != GoalHold && current && arrived
	if applied && (st.LastApplied == nil || st.LastApplied.Generation != o.record.Generation) {
		a := &manifests.AppliedChange{Generation: o.record.Generation, Time: metav1.NewTime(now.Truncate(time.Second))}
		if o.change.class > manifests.ChangeNone {
			a.Class, a.Fields = o.change.class.String(), o.change.fields
		}
		st.LastApplied, o.change = a, change{}
	}
	if !applied && !isTrue(st.Conditions, manifests.ConditionStalled) {
		st.ObservedGeneration = 0
		if st.LastApplied != nil {
			st.ObservedGeneration = st.LastApplied.Generation
		}
	}
}
