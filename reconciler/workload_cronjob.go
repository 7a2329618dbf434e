package reconciler

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

func (m *Manager) runCronJob(w *workloadObject, now time.Time) (time.Time, error) {
	cj := w.record.Workload.CronJob
	owned := m.ownedBy(w.key)
	jobs := make([]workload.Job, 0, len(owned))
	for _, key := range owned {
		if job := m.workload(key); job != nil {
			jobs = append(jobs, job.seen())
		}
	}
	p, err := workload.PlanCronJob(w.key.Name, &cj.Spec, w.record.Workload.CronJobStatus, w.record.CreationTimestamp.Time, jobs, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", w.key, err)
	}
	for _, key := range owned {
		_ = m.entrust(key, w.reference(), intent{}) // as it is
	}
	m.removeOwned(w, manifests.KindJob, p.Delete)
	if !p.Create.IsZero() {
		// Made before it is noted: a crash in between makes it no second time, for the
		// name tells which one it is.
		if err := m.makeJob(w, p.Create, now); err != nil {
			return time.Time{}, err
		}
	}
	if w.obstacle == nil {
		err = w.decide(func(rec *WorkloadRecord) { rec.CronJobStatus = p.Status })
	}
	m.tell(w.key, p.Events)
	return p.Again, err
}

// seen is what a CronJob sees of the job.
func (w *workloadObject) seen() workload.Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := workload.Job{Name: w.key.Name, UID: w.intent.uid, Created: w.intent.seen, Deleting: w.intent.gone}
	if r := w.record; r != nil {
		j.UID, j.Created = r.UID, r.CreationTimestamp.Time
		j.Deleting = j.Deleting || r.DeletionTimestamp != nil
		j.At, j.Failed, j.Finished = workload.Finished(&r.Workload.JobState.Status)
	}
	return j
}

func (m *Manager) makeJob(w *workloadObject, scheduled, now time.Time) error {
	meta := metav1.ObjectMeta{
		Name: workload.JobName(w.key.Name, scheduled), Namespace: w.key.Namespace,
		Annotations: map[string]string{workload.ScheduledAnnotation: scheduled.Format(time.RFC3339)},
	}
	obj, err := manifests.JobFromTemplate(meta, &w.record.Workload.CronJob.Spec.JobTemplate)
	if err != nil {
		return fmt.Errorf("%s: %w", w.key, err)
	}
	obj.Position = w.record.Source
	if w.obstacle = m.entrust(obj.Key, w.reference(), intent{object: &obj, seen: now}); w.obstacle == nil {
		m.event(w.key, eventNormal, "SuccessfulCreate", "make job %s", meta.Name)
	}
	return nil
}
