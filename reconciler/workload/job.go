package workload

import (
	"cmp"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/manifests"
)

const (
	// firstJobDelay and maxJobDelay bound the wait before a failed sandbox of a job
	// is replaced, as in Kubernetes.
	firstJobDelay = 10 * time.Second
	maxJobDelay   = 10 * time.Minute
)

// JobState is what is kept of a job.
type JobState struct {
	Status manifests.JobStatus `json:"status"`
	// Counted are the sandboxes, of those that are there, whose end is in the
	// status's counts already or is not to be counted.
	Counted []types.UID `json:"counted,omitempty"`
	// Failures is how many have failed since one last succeeded, LastFailure when
	// the last of them did: what the back-off is computed from.
	Failures    int32            `json:"failures,omitempty"`
	LastFailure metav1.MicroTime `json:"lastFailure,omitzero"`
}

// JobPlan is what to do for a job.
type JobPlan struct {
	State JobState
	// Create holds the index of each sandbox to make; NoIndex where there is none.
	Create []int
	// Delete names the sandboxes to remove.
	Delete []string
	Events []Event
	Again  time.Time
}

// Finished reports whether a job has ended for good, how, and when.
func Finished(s *manifests.JobStatus) (at time.Time, failed, ok bool) {
	for _, typ := range []string{manifests.ConditionComplete, manifests.ConditionFailed} {
		if c := meta.FindStatusCondition(s.Conditions, typ); c != nil && c.Status == metav1.ConditionTrue {
			return c.LastTransitionTime.Time, typ == manifests.ConditionFailed, true
		}
	}
	return time.Time{}, false, false
}

// jobPlanner works one JobPlan out.
type jobPlanner struct {
	JobPlan

	spec  *batchv1.JobSpec
	now   time.Time
	there []Sandbox
}

// PlanJob decides on the sandboxes of a job, with its defaults.
func PlanJob(spec *batchv1.JobSpec, was JobState, there []Sandbox, now time.Time) JobPlan {
	p := &jobPlanner{spec: spec, now: now, there: slices.Clone(there)}
	p.State = was
	p.State.Status.Conditions = slices.Clone(was.Status.Conditions)
	slices.SortFunc(p.there, func(a, b Sandbox) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	p.count()
	if _, _, ok := Finished(&p.State.Status); ok {
		p.afterwards()
	} else {
		p.work()
	}
	p.numbers()
	return p.JobPlan
}

// count takes in how sandboxes ended.
func (p *jobPlanner) count() {
	st := &p.State
	present := func(uid types.UID) bool {
		return slices.ContainsFunc(p.there, func(s Sandbox) bool { return s.UID == uid })
	}
	counted := slices.Clone(st.Counted)
	st.Counted = slices.DeleteFunc(counted, func(uid types.UID) bool { return !present(uid) })
	var ended []Sandbox
	for i, s := range p.there {
		if s.active() && slices.Contains(st.Counted, s.UID) {
			// Its end was decided on, and perhaps not begun.
			p.Delete = append(p.Delete, s.Name)
			p.there[i].Deleting = true
		}
		if !s.active() && !slices.Contains(st.Counted, s.UID) {
			if !s.Finished { // Somebody else removes it: it will not succeed any more.
				s.Failed, s.At = true, p.now
			}
			ended = append(ended, s)
		}
	}
	slices.SortStableFunc(ended, func(a, b Sandbox) int { return a.At.Compare(b.At) })
	done := parseIndexes(st.Status.CompletedIndexes)
	for _, s := range ended {
		st.Counted = append(st.Counted, s.UID)
		switch {
		case s.Failed:
			st.Status.Failed++
			st.Failures++
			st.LastFailure = metav1.NewMicroTime(s.At)
		case s.Index != NoIndex && done.has(s.Index):
		default:
			st.Status.Succeeded++
			st.Failures, st.LastFailure = 0, metav1.MicroTime{}
			if s.Index != NoIndex {
				done.add(s.Index)
			}
		}
	}
	st.Status.CompletedIndexes = done.String()
}

// afterwards looks after what a finished job has left.
func (p *jobPlanner) afterwards() {
	p.end(p.active())
	if p.spec.TTLSecondsAfterFinished == nil || len(p.there) == 0 {
		return
	}
	at, _, _ := Finished(&p.State.Status)
	expires := at.Add(time.Duration(*p.spec.TTLSecondsAfterFinished) * time.Second)
	if expires.After(p.now) {
		p.Again = expires
		return
	}
	for _, s := range p.there {
		if !s.Deleting && !slices.Contains(p.Delete, s.Name) {
			p.Delete = append(p.Delete, s.Name)
		}
	}
}

func (p *jobPlanner) work() {
	st := &p.State.Status
	if p.settled() {
		return
	}
	if *p.spec.Suspend {
		p.end(p.active())
		st.StartTime = nil
		if setCondition(&st.Conditions, string(batchv1.JobSuspended), metav1.ConditionTrue, "JobSuspended", "Job suspended", p.now) {
			p.event(false, "Suspended", "Job suspended")
		}
		return
	}
	if meta.IsStatusConditionTrue(st.Conditions, string(batchv1.JobSuspended)) {
		setCondition(&st.Conditions, string(batchv1.JobSuspended), metav1.ConditionFalse, "JobResumed", "Job resumed", p.now)
		p.event(false, "Resumed", "Job resumed")
	}
	if st.StartTime == nil {
		st.StartTime = new(seconds(p.now))
	}
	if d := p.spec.ActiveDeadlineSeconds; d != nil {
		p.Again = st.StartTime.Add(time.Duration(*d) * time.Second)
	}
	p.scale()
}

// settled takes the job to its end, if it has come to that.
func (p *jobPlanner) settled() bool {
	st := &p.State.Status
	reason, message := "", ""
	if c := meta.FindStatusCondition(st.Conditions, manifests.ConditionFailureTarget); c != nil {
		reason, message = c.Reason, c.Message
	} else if !meta.IsStatusConditionTrue(st.Conditions, manifests.ConditionSuccessCriteriaMet) {
		reason, message = p.failure()
	}
	running := slices.ContainsFunc(p.there, func(s Sandbox) bool { return !s.Finished })
	switch {
	case reason != "":
		active := p.active()
		p.end(active)
		st.Failed += int32(len(active)) //nolint:gosec // bounded by parallelism
		setCondition(&st.Conditions, manifests.ConditionFailureTarget, metav1.ConditionTrue, reason, message, p.now)
		if !running {
			setCondition(&st.Conditions, manifests.ConditionFailed, metav1.ConditionTrue, reason, message, p.now)
			p.event(true, reason, message)
		}
		return true
	case p.complete():
		p.end(p.active())
		const reason, message = "CompletionsReached", "Reached expected number of succeeded pods"
		setCondition(&st.Conditions, manifests.ConditionSuccessCriteriaMet, metav1.ConditionTrue, reason, message, p.now)
		if !running {
			setCondition(&st.Conditions, manifests.ConditionComplete, metav1.ConditionTrue, reason, message, p.now)
			st.CompletionTime = new(seconds(p.now))
			p.event(false, "Completed", "Job completed")
		}
		return true
	}
	return false
}

// failure says why the job has failed, if it has.
func (p *jobPlanner) failure() (reason, message string) {
	limit := *p.spec.BackoffLimit
	var restarts int32
	if p.spec.Template.Spec.RestartPolicy == corev1.RestartPolicyOnFailure {
		for _, s := range p.active() {
			restarts += s.Restarts
		}
	}
	start := p.State.Status.StartTime
	switch {
	case p.State.Status.Failed > limit, restarts > 0 && restarts >= limit:
		return batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit"
	case p.spec.ActiveDeadlineSeconds != nil && start != nil && !*p.spec.Suspend &&
		!p.now.Before(start.Add(time.Duration(*p.spec.ActiveDeadlineSeconds)*time.Second)):
		return batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline"
	}
	return "", ""
}

// complete reports whether enough has succeeded. A job without a number of
// completions is done when one sandbox has succeeded and none runs any more.
func (p *jobPlanner) complete() bool {
	st := &p.State.Status
	if p.spec.Completions == nil {
		return st.Succeeded > 0 && len(p.active()) == 0
	}
	return st.Succeeded >= *p.spec.Completions
}

// scale makes as many sandboxes as may run now, or ends those that are too many.
func (p *jobPlanner) scale() {
	active := p.active()
	want := int(*p.spec.Parallelism)
	switch {
	case p.spec.Completions != nil:
		want = min(want, int(*p.spec.Completions-p.State.Status.Succeeded))
	case p.State.Status.Succeeded > 0:
		want = min(want, len(active))
	}
	if over := len(active) - want; over > 0 {
		// Those that have come least far go: not ready before ready, young before old.
		slices.SortStableFunc(active, func(a, b Sandbox) int {
			return cmp.Or(cmp.Compare(rank(a.Ready), rank(b.Ready)), b.Created.Compare(a.Created))
		})
		p.end(active[:over])
		return
	}
	missing := want - len(active)
	if missing <= 0 {
		return
	}
	if until := p.State.LastFailure.Add(jobDelay(p.State.Failures)); until.After(p.now) {
		p.Again = earliest(p.Again, until)
		return
	}
	if *p.spec.CompletionMode != batchv1.IndexedCompletion {
		for range missing {
			p.Create = append(p.Create, NoIndex)
		}
		return
	}
	taken := parseIndexes(p.State.Status.CompletedIndexes)
	for _, s := range active {
		taken.add(s.Index)
	}
	for i := 0; i < int(*p.spec.Completions) && len(p.Create) < missing; i++ {
		if !taken.has(i) {
			p.Create = append(p.Create, i)
		}
	}
}

func rank(ready bool) int {
	if ready {
		return 1
	}
	return 0
}

// jobDelay is the wait after a number of failures in a row.
func jobDelay(failures int32) time.Duration {
	if failures == 0 {
		return 0
	}
	d := firstJobDelay
	for i := int32(1); i < failures && d < maxJobDelay; i++ {
		d *= 2
	}
	return min(d, maxJobDelay)
}

func (p *jobPlanner) active() []Sandbox {
	var active []Sandbox
	for _, s := range p.there {
		if s.active() {
			active = append(active, s)
		}
	}
	return active
}

// end removes sandboxes that run; that they do not succeed is no failure of theirs.
func (p *jobPlanner) end(active []Sandbox) {
	for _, s := range active {
		p.Delete = append(p.Delete, s.Name)
		p.State.Counted = append(p.State.Counted, s.UID)
	}
}

// numbers counts what will be there when the plan is carried out.
func (p *jobPlanner) numbers() {
	st := &p.State.Status
	st.Active, st.Ready, st.Terminating = 0, 0, 0
	for _, s := range p.there {
		switch {
		case s.Finished:
		case s.Deleting || slices.Contains(p.Delete, s.Name):
			st.Terminating++
		default:
			st.Active++
			st.Ready += int32(rank(s.Ready)) //nolint:gosec // 0 or 1
		}
	}
	st.Active += int32(len(p.Create)) //nolint:gosec // bounded by parallelism
}

func (p *jobPlanner) event(warning bool, reason, message string) {
	p.Events = append(p.Events, Event{Warning: warning, Reason: reason, Message: message})
}
