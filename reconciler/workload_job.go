package reconciler

import (
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

// completionIndexEnv tells a container of an Indexed job which index is its own.
const completionIndexEnv = "JOB_COMPLETION_INDEX"

func (m *Manager) runJob(w *workloadObject, now time.Time) (time.Time, error) {
	job := w.record.Workload.Job
	p := workload.PlanJob(&job.Spec, w.record.Workload.JobState, m.sandboxesOf(w.key), now)
	// Kept before it is carried out: what was decided is decided again after a crash.
	if err := w.decide(func(rec *WorkloadRecord) { rec.JobState = p.State }); err != nil {
		return time.Time{}, err
	}
	m.tell(w.key, p.Events)
	for _, key := range m.ownedBy(w.key) {
		_ = m.entrust(key, w.reference(), intent{}) // as it is
	}
	m.removeOwned(w, manifests.KindSandbox, p.Delete)
	for _, index := range p.Create {
		if err := m.makeJobSandbox(w, job, index, now); err != nil {
			return time.Time{}, err
		}
	}
	return p.Again, nil
}

// removeOwned removes objects that a workload has made.
func (m *Manager) removeOwned(w *workloadObject, kind string, names []string) {
	for _, name := range names {
		key := manifests.Key{Kind: kind, Namespace: w.key.Namespace, Name: name}
		if m.entrust(key, w.reference(), intent{gone: true}) == nil {
			m.event(w.key, eventNormal, "SuccessfulDelete", "remove %s", key)
		}
	}
}

func (m *Manager) makeJobSandbox(w *workloadObject, job *batchv1.Job, index int, now time.Time) error {
	const longest = 57 // with the suffix, a label of DNS
	template := job.Spec.Template.DeepCopy()
	base := w.key.Name
	meta := metav1.ObjectMeta{Namespace: w.key.Namespace, Labels: map[string]string{
		batchv1.JobNameLabel: w.key.Name, "job-name": w.key.Name,
		batchv1.ControllerUidLabel: string(w.record.UID), "controller-uid": string(w.record.UID),
	}}
	if index != workload.NoIndex {
		i := strconv.Itoa(index)
		base += "-" + i
		template.Spec.Hostname = base
		meta.Labels[batchv1.JobCompletionIndexAnnotation] = i
		meta.Annotations = map[string]string{batchv1.JobCompletionIndexAnnotation: i}
		addEnv(template.Spec.InitContainers, completionIndexEnv, i)
		addEnv(template.Spec.Containers, completionIndexEnv, i)
	}
	meta.Name = base[:min(len(base), longest)] + "-" + rand.String(5)
	if p, err := m.makeSandbox(w, meta, template, now); err != nil || p != nil {
		w.obstacle = p
		return err
	}
	m.event(w.key, eventNormal, "SuccessfulCreate", "make sandbox %s", meta.Name)
	return nil
}

// addEnv sets a variable in containers that do not set it themselves.
func addEnv(containers []corev1.Container, name, value string) {
	for i := range containers {
		c := &containers[i]
		set := false
		for _, e := range c.Env {
			set = set || e.Name == name
		}
		if !set {
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
		}
	}
}

// makeSandbox makes a sandbox from a template, with claims of its own, or keeps one
// as the template says.
func (m *Manager) makeSandbox(w *workloadObject, meta metav1.ObjectMeta, template *corev1.PodTemplateSpec, now time.Time, claims ...corev1.PersistentVolumeClaim) (*problem, error) {
	obj, err := manifests.PodFromTemplate(meta, template, claims...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.key, err)
	}
	obj.Position = w.record.Source
	return m.entrust(obj.Key, w.reference(), intent{object: &obj, seen: now}), nil
}
