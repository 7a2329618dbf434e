package reconciler

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

func (m *Manager) runWarmPool(w *workloadObject, now time.Time) (time.Time, error) {
	spec := &w.record.Workload.SandboxWarmPool.Spec
	template, hash := m.template(w.key.Namespace, spec.TemplateRef.Name), ""
	if template != nil {
		hash = workload.TemplateHash(&template.SandboxBlueprint)
	}
	p := workload.PlanWarmPool(w.key.Name, spec, w.record.Workload.SandboxWarmPoolStatus, hash, m.sandboxesOf(w.key), now)
	if err := w.decide(func(rec *WorkloadRecord) { rec.SandboxWarmPoolStatus = p.Status }); err != nil {
		return time.Time{}, err
	}
	for _, key := range m.ownedBy(w.key) {
		_ = m.entrust(key, w.reference(), intent{}) // as it is
	}
	m.removeOwned(w, manifests.KindSandbox, p.Delete)
	for range p.Create {
		if err := m.makePooled(w, template, hash, now); err != nil {
			return time.Time{}, err
		}
	}
	return p.Again, nil
}

// template is the spec of a SandboxTemplate, nil if there is none.
func (m *Manager) template(namespace, name string) *manifests.SandboxTemplateSpec {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.configs[manifests.Key{Kind: manifests.KindSandboxTemplate, Namespace: namespace, Name: name}]
	if c == nil || c.object == nil {
		return nil
	}
	return &c.object.SandboxTemplate.Spec
}

// makePooled makes a sandbox that no claim has yet.
func (m *Manager) makePooled(w *workloadObject, template *manifests.SandboxTemplateSpec, hash string, now time.Time) error {
	const longest = 57 // with the suffix, a label of DNS
	ref := w.record.Workload.SandboxWarmPool.Spec.TemplateRef.Name
	labels := map[string]string{
		workload.WarmPoolLabel: workload.NameHash(w.key.Name), workload.TemplateRefHashLabel: workload.NameHash(ref),
		workload.TemplateHashLabel: hash, workload.LaunchTypeLabel: workload.LaunchWarm,
	}
	meta := metav1.ObjectMeta{
		Name: w.key.Name[:min(len(w.key.Name), longest)] + "-" + rand.String(5), Namespace: w.key.Namespace,
		Labels: labels, Annotations: map[string]string{workload.TemplateRefAnnotation: ref},
	}
	blueprint := template.SandboxBlueprint.DeepCopy()
	addLabels(&blueprint.PodTemplate.ObjectMeta, labels, workload.WarmPoolLabel, workload.TemplateRefHashLabel, workload.TemplateHashLabel)
	if p, err := m.makeFromBlueprint(w, meta, blueprint, now); err != nil || p != nil {
		w.obstacle = p
		return err
	}
	m.event(w.key, eventNormal, "SuccessfulCreate", "make sandbox %s", meta.Name)
	return nil
}

func addLabels(to *manifests.PodMetadata, from map[string]string, names ...string) {
	if to.Labels == nil {
		to.Labels = map[string]string{}
	}
	for _, name := range names {
		to.Labels[name] = from[name]
	}
}

// makeFromBlueprint makes a sandbox, or keeps one as the blueprint says.
func (m *Manager) makeFromBlueprint(w *workloadObject, meta metav1.ObjectMeta, blueprint *manifests.SandboxBlueprint, now time.Time) (*problem, error) {
	obj, err := manifests.SandboxFromBlueprint(meta, blueprint)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.key, err)
	}
	obj.Position = w.record.Source
	return m.entrust(obj.Key, w.reference(), intent{object: &obj, seen: now}), nil
}

// wakeClaims has the claims of a namespace look at a pool that is another now. For
// other workloads it does nothing.
func (m *Manager) wakeClaims(pool manifests.Key) {
	if pool.Kind != manifests.KindSandboxWarmPool {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakeWarm(pool.Namespace, manifests.KindSandboxClaim)
}

// wakeWarm wakes the workloads of some kinds in a namespace. m.mu is held.
func (m *Manager) wakeWarm(namespace string, kinds ...string) {
	for key := range m.workloads {
		if key.Namespace == namespace && slices.Contains(kinds, key.Kind) {
			m.queue.Add(key)
		}
	}
}
