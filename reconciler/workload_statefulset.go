package reconciler

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

func (m *Manager) runStatefulSet(w *workloadObject, now time.Time) (time.Time, error) {
	rec := w.record.Workload
	spec := &rec.StatefulSet.Spec
	revisions, update := workload.Revise(w.key.Name, rec.Revisions, &spec.Template, templateManifest(w.record.Manifest), now)
	there := m.sandboxesOf(w.key)
	p := workload.PlanStatefulSet(w.key.Name, spec, rec.StatefulSetStatus, update, there, now)
	revisions = workload.Forget(revisions, *spec.RevisionHistoryLimit, func(name string) bool {
		return name == update || name == p.Status.CurrentRevision ||
			slices.ContainsFunc(there, func(s workload.Sandbox) bool { return s.Revision == name }) ||
			slices.ContainsFunc(p.Want, func(r workload.Replica) bool { return r.Revision == name })
	})
	// Kept before it is carried out: a sandbox's revision must be known.
	err := w.decide(func(rec *WorkloadRecord) { rec.StatefulSetStatus, rec.Revisions = p.Status, revisions })
	if err != nil {
		return time.Time{}, err
	}
	if r := spec.PersistentVolumeClaimRetentionPolicy; r != nil && r.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		if err := m.dropClaims(w, p.Delete); err != nil {
			return time.Time{}, err
		}
	}
	m.removeOwned(w, manifests.KindSandbox, p.Delete)
	for _, r := range p.Want {
		if err := m.makeReplica(w, r, revisions, now); err != nil {
			return time.Time{}, err
		}
	}
	for _, s := range there {
		wanted := slices.ContainsFunc(p.Want, func(r workload.Replica) bool { return r.Name == s.Name })
		if !wanted && !s.Deleting && !slices.Contains(p.Delete, s.Name) { // on its way out, in its turn
			_ = m.entrust(manifests.Key{Kind: manifests.KindSandbox, Namespace: w.key.Namespace, Name: s.Name}, w.reference(), intent{})
		}
	}
	return p.Again, nil
}

// templateManifest is the template of a set as it was written.
func templateManifest(manifest json.RawMessage) json.RawMessage {
	var written struct {
		Spec struct {
			Template json.RawMessage `json:"template"`
		} `json:"spec"`
	}
	_ = json.Unmarshal(manifest, &written) // it has been parsed
	return written.Spec.Template
}

// isWanted reports whether a sandbox's intent is just what the set would give it.
func (m *Manager) isWanted(key manifests.Key, w *workloadObject, revision string) bool {
	e := m.hold(key, false)
	if e == nil {
		return false
	}
	defer e.mu.Unlock()
	in := &e.intent
	return in.known && !in.gone && in.owner != nil && in.owner.UID == w.record.UID && in.object != nil &&
		in.object.Position == w.record.Source && in.object.Sandbox.Labels[appsv1.StatefulSetRevisionLabel] == revision &&
		in.object.Sandbox.Spec.PodTemplate.Spec.Subdomain == w.record.Workload.StatefulSet.Spec.ServiceName &&
		manifests.HasClaims(in.object.Sandbox, w.record.Workload.StatefulSet.Spec.VolumeClaimTemplates)
}

// dropClaims has the volumes that a set has made for some of its sandboxes go with
// them.
func (m *Manager) dropClaims(w *workloadObject, names []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range w.record.Workload.StatefulSet.Spec.VolumeClaimTemplates {
		for _, name := range names {
			claim := claimKey(w.key.Namespace, t.Name+"-"+name)
			if m.configs[claim] != nil {
				continue // It has a manifest, which says what becomes of it.
			}
			if err := m.volumes.DeleteWithClaim(claim.Namespace, claim.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropAllClaims does so for a set that is removed, if it says so.
func (m *Manager) dropAllClaims(w *workloadObject, owned []manifests.Key) error {
	set := w.record.Workload.StatefulSet
	if set == nil {
		return nil
	}
	r := set.Spec.PersistentVolumeClaimRetentionPolicy
	if r == nil || r.WhenDeleted != appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		return nil
	}
	names := make([]string, 0, len(owned))
	for _, key := range owned {
		names = append(names, key.Name)
	}
	return m.dropClaims(w, names)
}

// makeReplica makes a replica, or keeps it as its revision says.
func (m *Manager) makeReplica(w *workloadObject, r workload.Replica, revisions []manifests.ControllerRevision, now time.Time) error {
	key := manifests.Key{Kind: manifests.KindSandbox, Namespace: w.key.Namespace, Name: r.Name}
	if !r.Create && m.isWanted(key, w, r.Revision) {
		return nil // Most are, at most looks.
	}
	i := slices.IndexFunc(revisions, func(rev manifests.ControllerRevision) bool { return rev.Name == r.Revision })
	if i < 0 { // Its revision is not known any more: it stays as it is.
		_ = m.entrust(key, w.reference(), intent{})
		return nil
	}
	template := revisions[i].Template.DeepCopy()
	template.Spec.Hostname, template.Spec.Subdomain = r.Name, w.record.Workload.StatefulSet.Spec.ServiceName
	meta := metav1.ObjectMeta{Name: r.Name, Namespace: w.key.Namespace, Labels: map[string]string{
		appsv1.StatefulSetPodNameLabel:  r.Name,
		appsv1.PodIndexLabel:            strconv.Itoa(r.Ordinal),
		appsv1.StatefulSetRevisionLabel: r.Revision,
	}}
	p, err := m.makeSandbox(w, meta, template, now, w.record.Workload.StatefulSet.Spec.VolumeClaimTemplates...)
	switch {
	case err != nil:
		return err
	case p != nil:
		w.obstacle = p
	case r.Create:
		m.event(w.key, eventNormal, "SuccessfulCreate", "make sandbox %s", r.Name)
	}
	return nil
}
