package reconciler

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

// ownerKey is the key of the workload that owns something in a namespace.
func ownerKey(namespace string, ref *metav1.OwnerReference) manifests.Key {
	return manifests.Key{Kind: ref.Kind, Namespace: namespace, Name: ref.Name}
}

func sameOwner(a, b *metav1.OwnerReference) bool {
	return a == b || a != nil && b != nil && a.Kind == b.Kind && a.Name == b.Name
}

// origin says for people where what is wanted comes from.
func (in *intent) origin() string {
	if in.owner != nil {
		return in.owner.Kind + " " + in.owner.Name
	}
	return in.object.Position.String()
}

// end says for people why the object is to be removed.
func (in *intent) end() string {
	if in.owner != nil {
		return "asked for, of " + in.owner.Kind + " " + in.owner.Name
	}
	return "its manifest is gone"
}

// wants reports whether anything wants the object to be.
func (in *intent) wants() bool {
	return in.object != nil || in.problem != nil && in.owner == nil
}

// entrust gives an object the intent that its owner has for it, and makes it if
// need be; an intent without an object is to keep it as it is. What is returned is
// not nil if the name belongs to something else.
func (m *Manager) entrust(key manifests.Key, owner *metav1.OwnerReference, in intent) *problem {
	e := m.hold(key, !in.gone)
	if e == nil {
		return nil
	}
	defer e.mu.Unlock()
	if taken := e.takenFrom(owner); taken != "" {
		return &problem{ReasonDuplicateName, fmt.Sprintf("%s is there already, %s: rename one of them", key, taken)}
	}
	m.own(key, ownerKey(key.Namespace, owner))
	was := e.intent
	if keep := in.object == nil && !in.gone; keep && was.owner != nil {
		in.object, in.gone, in.seen = was.object, was.gone, was.seen
	}
	in.known, in.owner, in.uid = true, owner, was.uid
	if in.uid == "" {
		in.uid = newUID()
	}
	if was.owner != nil && was.problem != nil && was.problem.Reason == ReasonDuplicateName {
		in.problem = was.problem // which only a look at the manifests ends
	}
	if was.known && was.gone == in.gone && was.problem.equal(in.problem) && was.owner != nil && was.owner.UID == owner.UID && sameObject(was.object, in.object) {
		return nil
	}
	e.intent = in
	m.queue.Add(key)
	return nil
}

// takenFrom says who else has the object; empty if the owner may have it. e.mu is
// held.
func (e *managed) takenFrom(owner *metav1.OwnerReference) string {
	has := e.owner()
	switch {
	case e.unreadable != "":
		return "and its record cannot be read"
	case has != nil && !sameOwner(has, owner):
		return "made by " + has.Kind + " " + has.Name
	case has != nil:
		return ""
	case e.record != nil:
		return "from " + e.record.Source.String()
	case e.intent.object != nil:
		return "from " + e.intent.object.Position.String()
	case e.intent.problem != nil:
		return "in a manifest with an error"
	}
	return ""
}

// intendOwned takes in what the manifests say of a name that a workload's object
// has: nothing, or a manifest wants the same name. e.mu is held.
func (m *Manager) intendOwned(e *managed, owner *metav1.OwnerReference, v verdict) {
	next := e.intent
	next.problem = nil
	own := ownerKey(e.key.Namespace, owner)
	switch {
	case v.object != nil:
		next.problem = &problem{ReasonDuplicateName, fmt.Sprintf("%s has the name of a %s of %s: rename it", v.object.Position, e.key.Kind, own)}
	case m.managed(own) == nil:
		// It lost its owner. It is kept: nothing says that it is not wanted.
		next.known, next.owner = true, owner
		next.problem = &problem{ReasonOwnerMissing, fmt.Sprintf("%s, which made it, is not there any more: bring it back, or remove this one with \"vzctl delete\"", own)}
	}
	if next.known == e.intent.known && next.problem.equal(e.intent.problem) {
		return
	}
	if next.problem != nil {
		m.event(e.key, eventWarning, next.problem.Reason, "%s", next.problem.Message)
	}
	e.intent = next
	m.queue.Add(e.key)
}

// own notes that an object belongs to an owner.
func (m *Manager) own(key, owner manifests.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := m.owned[owner]
	if keys == nil {
		keys = map[manifests.Key]struct{}{}
		m.owned[owner] = keys
	}
	keys[key] = struct{}{}
}

// passOn makes an object that belonged to one owner another's.
func (m *Manager) passOn(key, from, to manifests.Key) {
	m.mu.Lock()
	delete(m.owned[from], key)
	if len(m.owned[from]) == 0 {
		delete(m.owned, from)
	}
	m.mu.Unlock()
	m.own(key, to)
	m.queue.Add(from)
	m.queue.Add(to)
}

// disown forgets that, and tells the owner. e.mu is held.
func (m *Manager) disown(e *managed) {
	ref := e.owner()
	if ref == nil {
		ref = e.intent.owner
	}
	if ref == nil {
		return
	}
	owner := ownerKey(e.key.Namespace, ref)
	m.mu.Lock()
	rival := e.intent.problem != nil
	delete(m.owned[owner], e.key)
	if len(m.owned[owner]) == 0 {
		delete(m.owned, owner)
	}
	m.mu.Unlock()
	m.queue.Add(owner)
	if rival { // A manifest may wait for the name.
		m.opts.Source.Resync()
	}
}

// wakeOwner has the owner of an object look at it. e.mu is held.
func (m *Manager) wakeOwner(e *managed) {
	if ref := e.owner(); ref != nil {
		m.queue.Add(ownerKey(e.key.Namespace, ref))
	}
}

// ownedBy returns the keys of what an owner has made, sorted.
func (m *Manager) ownedBy(owner manifests.Key) []manifests.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]manifests.Key, 0, len(m.owned[owner]))
	for key := range m.owned[owner] {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// weights returns a function that says how many sandboxes go with an object of the
// manifests: a workload counts for those that it has made, and for one at least.
func (m *Manager) weights() func(manifests.Key) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var count func(key manifests.Key) int
	count = func(key manifests.Key) int {
		if !key.IsWorkload() {
			return 1
		}
		n := 0
		for child := range m.owned[key] {
			n += count(child)
		}
		return n
	}
	weights := make(map[manifests.Key]int, len(m.workloads))
	for key := range m.workloads {
		weights[key] = max(count(key), 1)
	}
	lost := map[manifests.Key]bool{} // claims whose volume would go with them
	for key, c := range m.configs {
		lost[key] = c.volume != nil && c.volume.DeleteWithClaim
	}
	return func(key manifests.Key) int {
		switch {
		case key.IsWorkload():
			return weights[key]
		case lost[key]:
			return 1 // what is on its volume
		case key.IsConfig():
			return 0
		}
		return 1
	}
}

// sandboxesOf returns what a workload sees of the sandboxes that it has made.
func (m *Manager) sandboxesOf(owner manifests.Key) []workload.Sandbox {
	keys := m.ownedBy(owner)
	all := make([]workload.Sandbox, 0, len(keys))
	for _, key := range keys {
		if o := m.object(key); o != nil {
			all = append(all, o.seen())
		}
	}
	return all
}

// seen is what the object's owner sees of it.
func (o *object) seen() workload.Sandbox {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seenLocked()
}

// seenLocked is seen for those who hold o.mu.
func (o *object) seenLocked() workload.Sandbox {
	s := workload.Sandbox{Name: o.key.Name, UID: o.intent.uid, Created: o.intent.seen, Index: workload.NoIndex, Deleting: o.intent.gone}
	r, wanted := o.record, o.intent.object
	var made *manifests.Sandbox
	if wanted != nil {
		made = wanted.Sandbox
	}
	if r != nil {
		s.UID, s.Created = r.UID, r.CreationTimestamp.Time
		s.Deleting = s.Deleting || r.DeletionTimestamp != nil
		if r.Outcome != nil {
			s.Finished, s.Failed, s.At = true, r.Outcome.Phase == manifests.PhaseFailed, r.Outcome.Time.Time
		}
		if made == nil {
			made = r.Sandbox
		}
	}
	if made != nil {
		s.Revision = cmp.Or(made.Labels[appsv1.StatefulSetRevisionLabel], made.Labels[workload.TemplateHashLabel])
		for _, label := range []string{batchv1.JobCompletionIndexAnnotation, appsv1.PodIndexLabel} {
			if n, err := strconv.Atoi(made.Labels[label]); err == nil {
				s.Index = n
			}
		}
	}
	s.Conditions, s.PodIPs = o.status.Conditions, o.status.PodIPs
	for _, c := range slices.Concat(o.status.InitContainerStatuses, o.status.ContainerStatuses) {
		s.Restarts += c.RestartCount
	}
	current := r != nil && o.status.ObservedGeneration == r.Generation && (wanted == nil || string(wanted.Manifest) == string(r.Manifest))
	if c := meta.FindStatusCondition(o.status.Conditions, manifests.ConditionReady); c != nil && current {
		s.Ready, s.Since = c.Status == metav1.ConditionTrue, c.LastTransitionTime.Time
	}
	if c := meta.FindStatusCondition(o.status.Conditions, manifests.ConditionStalled); c != nil && current && c.Status == metav1.ConditionTrue {
		s.Stalled = c.Message
	}
	return s
}
