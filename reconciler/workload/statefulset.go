package workload

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Replica is a sandbox that a StatefulSet wants, made from one of its revisions.
type Replica struct {
	Name     string
	Ordinal  int
	Revision string
	// Create says that it is not there yet.
	Create bool
}

// StatefulSetPlan is what to do for a StatefulSet.
type StatefulSetPlan struct {
	Status manifests.StatefulSetStatus
	// Want are the sandboxes to make or keep, by ordinal. One that is being removed
	// by somebody else is not among them until it is gone.
	Want []Replica
	// Delete names the sandboxes to remove.
	Delete []string
	Again  time.Time
}

// setPlanner works one StatefulSetPlan out.
type setPlanner struct {
	StatefulSetPlan

	name    string
	spec    *appsv1.StatefulSetSpec
	now     time.Time
	current string // the revision that a roll-out leaves
	update  string // the one that it leads to
	there   map[int]*Sandbox
	extra   []*Sandbox // beyond the replicas, the last first
	trouble string     // the first sandbox that cannot get further, and why
}

// PlanStatefulSet decides on the sandboxes of a StatefulSet, with its defaults,
// whose template is the revision update.
//
// A roll-out goes from the last ordinal to the first and takes no more sandboxes
// down than maxUnavailable allows: when those of the new revision do not become
// available, it stands still and the others are left as they are.
func PlanStatefulSet(name string, spec *appsv1.StatefulSetSpec, was manifests.StatefulSetStatus, update string, there []Sandbox, now time.Time) StatefulSetPlan {
	p := &setPlanner{name: name, spec: spec, now: now, current: was.CurrentRevision, update: update, there: map[int]*Sandbox{}}
	if p.current == "" {
		p.current = update
	}
	p.Status = was
	p.Status.Conditions = slices.Clone(was.Conditions)
	there = slices.Clone(there)
	for i := range there {
		s := &there[i]
		if n := s.Index - p.start(); n >= 0 && n < p.replicas() {
			p.there[n] = s
		} else {
			p.extra = append(p.extra, s)
		}
		if s.Stalled != "" && p.trouble == "" {
			p.trouble = s.Name + ": " + s.Stalled
		}
	}
	slices.SortFunc(p.extra, func(a, b *Sandbox) int { return cmp.Compare(b.Index, a.Index) })
	healthy := p.keep()
	p.shrink(healthy)
	p.rollOut()
	p.count()
	p.conditions()
	return p.StatefulSetPlan
}

func (p *setPlanner) replicas() int { return int(*p.spec.Replicas) }

func (p *setPlanner) start() int {
	if p.spec.Ordinals == nil {
		return 0
	}
	return int(p.spec.Ordinals.Start)
}

func (p *setPlanner) ordered() bool {
	return p.spec.PodManagementPolicy == appsv1.OrderedReadyPodManagement
}

// partition is the number of replicas that a roll-out leaves alone.
func (p *setPlanner) partition() int {
	if u := p.spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		return int(*u.Partition)
	}
	return 0
}

// maxUnavailable is how many replicas may be unavailable for a roll-out's sake.
func (p *setPlanner) maxUnavailable() int {
	u := p.spec.UpdateStrategy.RollingUpdate
	if u == nil || u.MaxUnavailable == nil {
		return 1
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(u.MaxUnavailable, p.replicas(), false)
	if err != nil { // Validation has refused it.
		return 1
	}
	return max(n, 1)
}

// available reports whether a sandbox has been ready for as long as is asked for.
func (p *setPlanner) available(s *Sandbox) bool {
	if s == nil || !s.Ready || s.Deleting {
		return false
	}
	at := s.Since.Add(time.Duration(p.spec.MinReadySeconds) * time.Second)
	if at.After(p.now) {
		p.Again = earliest(p.Again, at)
		return false
	}
	return true
}

// keep keeps the replicas that are there and makes those that are missing, in
// order one after the other if that is asked for. It reports whether all are
// available.
func (p *setPlanner) keep() bool {
	healthy := true
	for n := range p.replicas() {
		s := p.there[n]
		ordinal := p.start() + n
		r := Replica{Name: fmt.Sprintf("%s-%d", p.name, ordinal), Ordinal: ordinal}
		switch {
		case s != nil && s.Deleting:
		case s != nil:
			r.Revision = s.Revision
			p.Want = append(p.Want, r)
		case healthy || !p.ordered():
			r.Create, r.Revision = true, p.update
			if n < p.partition() {
				r.Revision = p.current
			}
			p.Want = append(p.Want, r)
		}
		healthy = p.available(s) && healthy
	}
	return healthy
}

// shrink removes what is beyond the replicas: in order one after the other, once
// all that stay are available, or all at once.
func (p *setPlanner) shrink(healthy bool) {
	for _, s := range p.extra {
		switch {
		case s.Deleting && p.ordered():
			return
		case s.Deleting:
		case !p.ordered():
			p.Delete = append(p.Delete, s.Name)
		case healthy:
			p.Delete = append(p.Delete, s.Name)
			return
		}
	}
}

// rollOut has replicas made anew from the new revision.
func (p *setPlanner) rollOut() {
	if p.spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return
	}
	unavailable, failing := 0, 0
	for n := range p.replicas() {
		if s := p.there[n]; !p.available(s) {
			unavailable++
			if s != nil && s.Revision == p.update {
				failing++
			}
		}
	}
	most := p.maxUnavailable()
	for n := p.replicas() - 1; n >= p.partition(); n-- {
		s := p.there[n]
		if s == nil || s.Deleting || s.Revision == p.update {
			continue
		}
		if p.available(s) {
			unavailable++ // once it is made anew
			if unavailable > most {
				return
			}
		} else if failing >= most {
			// It costs nothing to replace it, but the new revision has yet to show
			// that it does better.
			return
		}
		failing++
		p.assign(n, p.update)
	}
}

func (p *setPlanner) assign(n int, revision string) {
	for i := range p.Want {
		if p.Want[i].Ordinal == p.start()+n {
			p.Want[i].Revision = revision
			p.there[n].Revision, p.there[n].Ready = revision, false
		}
	}
}

// count says in the status what is there. When all replicas are of the new
// revision and ready, the roll-out is over.
func (p *setPlanner) count() {
	st := &p.Status
	st.Replicas, st.ReadyReplicas, st.AvailableReplicas, st.CurrentReplicas, st.UpdatedReplicas = 0, 0, 0, 0, 0
	all := slices.Clone(p.extra)
	for _, s := range p.there {
		all = append(all, s)
	}
	for _, s := range all {
		st.Replicas++
		if s.Deleting {
			continue
		}
		if s.Ready {
			st.ReadyReplicas++
		}
		if p.available(s) {
			st.AvailableReplicas++
		}
		if s.Revision == p.current {
			st.CurrentReplicas++
		}
		if s.Revision == p.update {
			st.UpdatedReplicas++
		}
	}
	st.CurrentRevision, st.UpdateRevision = p.current, p.update
	n := *p.spec.Replicas
	if st.UpdatedReplicas == st.Replicas && st.ReadyReplicas == st.Replicas && st.Replicas == n {
		st.CurrentRevision, st.CurrentReplicas = p.update, st.UpdatedReplicas
	}
}

// conditions sums the status up.
func (p *setPlanner) conditions() {
	st := &p.Status
	n := *p.spec.Replicas
	set := func(typ string, yes bool, reason, message string) {
		status := metav1.ConditionFalse
		if yes {
			status = metav1.ConditionTrue
		}
		setCondition(&st.Conditions, typ, status, reason, message, p.now)
	}
	message := fmt.Sprintf("%d of %d replicas are available", st.AvailableReplicas, n)
	available := st.AvailableReplicas >= n
	if available {
		set(manifests.ConditionReady, true, "ReplicasAvailable", message)
	} else {
		set(manifests.ConditionReady, false, "ReplicasUnavailable", message)
	}
	wanted := max(n-int32(p.partition()), 0) //nolint:gosec // bounded by validation
	updating := p.current != p.update && p.spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType && st.UpdatedReplicas < wanted
	switch {
	case p.trouble != "":
		setSummary(&st.Conditions, manifests.ConditionStalled, "ReplicaStalled", p.trouble, p.now)
	case updating:
		setSummary(&st.Conditions, manifests.ConditionReconciling, "RollingUpdate",
			fmt.Sprintf("%d of %d replicas are of revision %s; %s", st.UpdatedReplicas, wanted, p.update, message), p.now)
	case !available || st.Replicas != n:
		setSummary(&st.Conditions, manifests.ConditionReconciling, "Scaling", message, p.now)
	default:
		setSummary(&st.Conditions, "", "", "", p.now)
	}
}
