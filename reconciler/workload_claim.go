package reconciler

import (
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

func (m *Manager) runClaim(w *workloadObject, now time.Time) (time.Time, error) {
	rec := w.record.Workload
	spec := &rec.SandboxClaim.Spec
	pool := manifests.Key{Kind: manifests.KindSandboxWarmPool, Namespace: w.key.Namespace, Name: spec.WarmPoolRef.Name}
	in := workload.ClaimInput{UID: w.record.UID, Spec: spec, Was: rec.SandboxClaimStatus, Own: m.sandboxesOf(w.key), Pool: m.poolSpec(pool), Now: now}
	if in.Pool != nil {
		in.Template = m.template(w.key.Namespace, in.Pool.TemplateRef.Name)
		if len(in.Own) == 0 {
			in.Members = m.sandboxesOf(pool)
		}
	}
	p := workload.PlanClaim(in)
	// What has expired must stay so, though its sandbox is gone.
	if err := w.decide(func(rec *WorkloadRecord) { rec.SandboxClaimStatus = p.Status }); err != nil {
		return time.Time{}, err
	}
	m.tell(w.key, p.Events)
	for _, s := range in.Own {
		if err := m.keepClaimed(w, s.Name, p.Metadata, now); err != nil {
			return time.Time{}, err
		}
	}
	m.removeOwned(w, manifests.KindSandbox, p.Delete)
	if len(in.Own) == 0 && (len(p.Take) > 0 || p.Make != nil) {
		if err := m.obtain(w, pool, &in, &p, now); err != nil {
			return time.Time{}, err
		}
	}
	if late := now.Add(clockWait); p.Again.After(late) {
		return late, nil
	}
	return p.Again, nil
}

// poolSpec is the spec of a pool, nil if there is none. A claim's mutex may be
// held: a pool never takes one.
func (m *Manager) poolSpec(key manifests.Key) *manifests.SandboxWarmPoolSpec {
	w := m.workload(key)
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.record == nil || w.record.DeletionTimestamp != nil {
		return nil
	}
	return &w.record.Workload.SandboxWarmPool.Spec
}

// obtain takes a sandbox of the pool for the claim, or makes one.
func (m *Manager) obtain(w *workloadObject, pool manifests.Key, in *workload.ClaimInput, p *workload.ClaimPlan, now time.Time) error {
	for _, name := range p.Take {
		if taken, err := m.adopt(w, pool, name, p.Metadata, now); taken || err != nil {
			return err
		}
	}
	if p.Make == nil { // All were gone: there may be others.
		m.queue.Add(w.key)
		return nil
	}
	ref := in.Pool.TemplateRef.Name
	meta := metav1.ObjectMeta{
		Name: w.key.Name, Namespace: w.key.Namespace,
		Labels: map[string]string{
			workload.ClaimUIDLabel: string(w.record.UID), workload.LaunchTypeLabel: workload.LaunchCold,
			workload.TemplateRefHashLabel: workload.NameHash(ref),
		},
		Annotations: map[string]string{workload.TemplateRefAnnotation: ref},
	}
	problem, err := m.makeFromBlueprint(w, meta, p.Make, now)
	if err != nil || problem != nil {
		w.obstacle = problem
		return err
	}
	m.event(w.key, eventNormal, "SandboxProvisioned", "made sandbox %s from SandboxTemplate %s", meta.Name, ref)
	return nil
}

// adopt makes a pool's sandbox the claim's, if it still can be had. It is so when,
// and not before, the sandbox's record says so: the one file that is written.
func (m *Manager) adopt(w *workloadObject, pool manifests.Key, name string, metadata *manifests.PodMetadata, now time.Time) (bool, error) {
	o := m.object(manifests.Key{Kind: manifests.KindSandbox, Namespace: w.key.Namespace, Name: name})
	if o == nil {
		return false, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	owner := o.owner()
	if o.dead || o.record == nil || owner == nil || ownerKey(o.key.Namespace, owner) != pool || !o.record.Overrides.SuspendedAt.IsZero() {
		return false, nil
	}
	if s := o.seenLocked(); !s.Ready || s.Deleting || s.Finished {
		return false, nil
	}
	labels := maps.Clone(o.record.Sandbox.Labels)
	delete(labels, workload.WarmPoolLabel)
	delete(labels, workload.TemplateHashLabel)
	labels[workload.ClaimUIDLabel] = string(w.record.UID)
	obj, err := o.relabelled(labels, metadata)
	if err != nil {
		return false, fmt.Errorf("%s: %w", w.key, err)
	}
	obj.Position = w.record.Source
	in := intent{known: true, object: &obj, owner: w.reference(), uid: o.record.UID, problem: o.intent.problem, seen: now}
	if err := m.update(o, in, now); err != nil {
		return false, err
	}
	o.intent = in
	m.passOn(o.key, pool, w.key)
	m.queue.Add(o.key)
	m.event(w.key, eventNormal, "SandboxAdopted", "took sandbox %s of %s", name, pool)
	return true, nil
}

// relabelled is the sandbox as applied, with other metadata of itself and of its
// podTemplate. o.mu is held.
func (o *object) relabelled(labels map[string]string, metadata *manifests.PodMetadata) (manifests.Object, error) {
	blueprint, err := manifests.BlueprintOf(o.record.Manifest)
	if err != nil {
		return manifests.Object{}, err
	}
	if metadata != nil {
		blueprint.PodTemplate.ObjectMeta = metadata.OnNetworksOf(blueprint.PodTemplate.ObjectMeta)
	}
	return manifests.SandboxFromBlueprint(metav1.ObjectMeta{
		Name: o.key.Name, Namespace: o.key.Namespace, Labels: labels, Annotations: o.record.Sandbox.Annotations,
	}, blueprint)
}

// keepClaimed keeps the claim's sandbox as it is, but for the metadata of its
// podTemplate.
func (m *Manager) keepClaimed(w *workloadObject, name string, metadata *manifests.PodMetadata, now time.Time) error {
	key := manifests.Key{Kind: manifests.KindSandbox, Namespace: w.key.Namespace, Name: name}
	next := intent{}
	if e := m.object(key); e != nil && metadata != nil {
		e.mu.Lock()
		if r := e.record; r != nil && !equality.Semantic.DeepEqual(r.Sandbox.Spec.PodTemplate.ObjectMeta, metadata.OnNetworksOf(r.Sandbox.Spec.PodTemplate.ObjectMeta)) {
			obj, err := e.relabelled(r.Sandbox.Labels, metadata)
			if err != nil {
				e.mu.Unlock()
				return fmt.Errorf("%s: %w", w.key, err)
			}
			obj.Position = w.record.Source
			next = intent{object: &obj, seen: now}
		}
		e.mu.Unlock()
	}
	_ = m.entrust(key, w.reference(), next)
	return nil
}
