package reconciler

import (
	"fmt"
	"slices"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// refuseCycles takes the objects that wait for each other out of what the
// manifests say: they are errors, and stay as they were applied.
func refuseCycles(s source.Snapshot) source.Snapshot {
	errs := manifests.DependencyCycles(s.Objects)
	if len(errs) == 0 {
		return s
	}
	refused := make(map[manifests.Key]bool, len(errs))
	for _, e := range errs {
		refused[*e.Key] = true
	}
	s.Objects = slices.DeleteFunc(slices.Clone(s.Objects), func(o *manifests.Object) bool { return refused[o.Key] })
	s.Errors = append(slices.Clone(s.Errors), errs...)
	return s
}

// noteLeaving notes which sandboxes are to go, before the first of them does.
func (m *Manager) noteLeaving(verdicts map[manifests.Key]verdict) {
	for key, v := range verdicts {
		if o := m.object(key); o != nil && !v.open {
			o.leaving.Store(v.gone)
		}
	}
}

// waitingFor lists what a sandbox waits for on its way to a goal, for people.
// Only what others show is looked at, never they themselves: no two objects are
// locked at once. o.mu is held.
func (m *Manager) waitingFor(o *object, goal Goal) []string {
	switch {
	case goal == GoalDelete:
		return m.dependentsLeaving(o)
	case goal.up():
		return m.dependenciesMissing(o)
	default:
		return nil
	}
}

func (m *Manager) dependenciesMissing(o *object) []string {
	var waiting []string
	for _, d := range o.spec().DependsOn {
		key := d.Key(o.key.Namespace)
		var v *view
		if on := m.object(key); on != nil {
			v = on.view.Load()
		}
		switch {
		case v == nil || v.deleted != nil:
			waiting = append(waiting, fmt.Sprintf("%s to be %s (there is none)", key, d.Condition))
		case !v.known:
			waiting = append(waiting, fmt.Sprintf("%s to be %s", key, d.Condition))
		case !met(d.Condition, &v.status):
			waiting = append(waiting, fmt.Sprintf("%s to be %s (it is %s)", key, d.Condition, v.status.Phase))
		}
	}
	return waiting
}

// met reports whether a sandbox has got where another waits for it.
func met(c manifests.DependencyCondition, s *manifests.SandboxStatus) bool {
	switch c {
	case manifests.DependencyStarted:
		if s.Phase == manifests.PhaseSucceeded {
			return true
		}
		for _, cs := range s.ContainerStatuses {
			if cs.State.Running == nil || cs.Started == nil || !*cs.Started {
				return false
			}
		}
		return s.Phase == manifests.PhaseRunning || s.Phase == manifests.PhasePaused
	case manifests.DependencyCompleted:
		return s.Phase == manifests.PhaseSucceeded
	default:
		return isTrue(s.Conditions, manifests.ConditionReady)
	}
}

// dependentsLeaving lists the sandboxes that are removed together with this one
// and before it, for they depend on it.
func (m *Manager) dependentsLeaving(o *object) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var waiting []string
	seen := map[manifests.Key]bool{}
	next := []manifests.Key{o.key}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		for key := range m.users[at] {
			user := m.objects[key]
			if user == nil || seen[key] || !user.isLeaving() {
				continue
			}
			if user == o {
				return nil // They wait for each other, as edits one by one can bring about.
			}
			seen[key] = true
			next = append(next, key)
			if at == o.key {
				waiting = append(waiting, key.String()+" to be removed")
			}
		}
	}
	slices.Sort(waiting)
	return waiting
}

// isLeaving reports whether a sandbox is being removed or about to be.
func (o *object) isLeaving() bool {
	v := o.view.Load()
	return o.leaving.Load() || v != nil && v.deleted != nil
}
