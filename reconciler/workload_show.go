package reconciler

import (
	"encoding/json"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

// showWorkload replaces what the API shows of a workload, if it has changed.
// w.mu is held.
func (m *Manager) showWorkload(w *workloadObject, now time.Time) {
	v := &view{key: w.key, apiVersion: workloadVersion(w.key.Kind), kind: w.key.Kind, problem: w.trouble()}
	var old []metav1.Condition
	if was := w.view.Load(); was != nil {
		old = workloadConditions(was.workload)
	}
	var generation int64
	if r := w.record; r != nil {
		v.manifest, v.source, v.owner, v.revision = r.Manifest, r.Source, r.Owner, r.Revision
		if obj := w.intent.object; obj != nil && obj.Position == r.Source {
			v.revision = obj.Revision // a later commit, in which it stands just so
		}
		v.uid, v.generation, v.created, v.deleted = r.UID, r.Generation, r.CreationTimestamp, r.DeletionTimestamp
		v.labels, v.revisions = r.Workload.labels(), r.Workload.Revisions
		generation = r.Generation
	} else if obj := w.intent.object; obj != nil {
		v.manifest, v.source, v.labels, v.revision = obj.Manifest, obj.Position, obj.Meta().Labels, obj.Revision
	}
	synced := &conditionSet{old: old, now: now, generation: generation}
	switch {
	case v.problem != nil:
		status := metav1.ConditionFalse
		if v.problem.Reason == source.ReasonSourceUnreachable {
			status = metav1.ConditionUnknown
		}
		synced.set(manifests.ConditionSynced, status, v.problem.Reason, v.problem.Message)
	case v.deleted != nil:
		synced.setBool(manifests.ConditionSynced, false, ReasonDeleting, "it is being removed, and what it has made")
	default:
		synced.setBool(manifests.ConditionSynced, true, ReasonSynced, "")
	}
	if v.problem != nil && (w.record == nil || w.obstacle != nil) {
		synced.setBool(manifests.ConditionStalled, true, v.problem.Reason, v.problem.Message)
	}
	v.workload = w.status(synced.conditions, generation, v.revision)
	was := w.view.Load()
	if was != nil && was.equal(v) {
		return
	}
	w.view.Store(v)
	m.hub.changed(w.key)
	m.tellRevisions(was, v)
	m.wakeOwner(&w.managed)
}

// tellRevisions tells those who watch which revisions of a StatefulSet have come
// and gone, or are shown otherwise; is is nil when it is gone itself.
func (m *Manager) tellRevisions(was, is *view) {
	left := map[manifests.Key]*view{}
	for _, v := range was.revisionViews() {
		left[v.key] = v
	}
	for _, v := range is.revisionViews() {
		if old := left[v.key]; old == nil || !old.equal(v) {
			m.hub.changed(v.key)
		}
		delete(left, v.key)
	}
	for key, v := range left {
		m.hub.removed(key, v)
	}
}

// trouble says why the workload is not as its manifest says, nil if it is.
func (w *workloadObject) trouble() *problem {
	switch {
	case w.unreadable != "":
		return &problem{ReasonRecordUnreadable, w.unreadable + ": mend or remove the file; until then what it has made is left alone"}
	case w.diskError != nil:
		return &problem{ReasonDiskError, w.diskError.Error()}
	case w.intent.problem != nil:
		return w.intent.problem
	case w.refused != nil:
		return w.refused
	}
	return w.obstacle
}

// status is that of the workload's kind, with conditions of all workloads before
// its own.
func (w *workloadObject) status(first []metav1.Condition, generation int64, revision *manifests.Revision) any {
	var (
		rec    WorkloadRecord
		source *manifests.Source
	)
	if w.record != nil {
		rec, source = *w.record.Workload, &manifests.Source{Position: w.record.Source, Revision: revision}
	}
	conditions := func(own []metav1.Condition) []metav1.Condition {
		all := slices.Clone(first)
		for _, c := range own {
			stuck := slices.ContainsFunc(first, func(f metav1.Condition) bool {
				return f.Type == c.Type || f.Type == manifests.ConditionStalled && c.Type == manifests.ConditionReconciling
			})
			if !stuck {
				c.ObservedGeneration = generation
				all = append(all, c)
			}
		}
		return all
	}
	switch w.key.Kind {
	case manifests.KindJob:
		st := rec.JobState.Status
		st.ObservedGeneration, st.Conditions, st.Source = generation, conditions(st.Conditions), source
		return &st
	case manifests.KindCronJob:
		st := rec.CronJobStatus
		st.ObservedGeneration, st.Conditions, st.Source = generation, conditions(st.Conditions), source
		return &st
	case manifests.KindSandboxWarmPool:
		st := rec.SandboxWarmPoolStatus
		st.ObservedGeneration, st.Conditions, st.Source = generation, conditions(st.Conditions), source
		return &st
	case manifests.KindSandboxClaim:
		st := rec.SandboxClaimStatus
		st.ObservedGeneration, st.Conditions, st.Source = generation, conditions(st.Conditions), source
		return &st
	default:
		st := rec.StatefulSetStatus
		st.ObservedGeneration, st.Conditions, st.Source = generation, conditions(st.Conditions), source
		return &st
	}
}

func workloadConditions(status any) []metav1.Condition {
	switch st := status.(type) {
	case *manifests.JobStatus:
		return st.Conditions
	case *manifests.CronJobStatus:
		return st.Conditions
	case *manifests.StatefulSetStatus:
		return st.Conditions
	case *manifests.SandboxWarmPoolStatus:
		return st.Conditions
	case *manifests.SandboxClaimStatus:
		return st.Conditions
	}
	return nil
}

func workloadVersion(kind string) string {
	switch kind {
	case manifests.KindStatefulSet:
		return "apps/v1"
	case manifests.KindSandboxWarmPool, manifests.KindSandboxClaim:
		return manifests.ExtensionsAPIVersion
	}
	return "batch/v1"
}

func (rec *WorkloadRecord) labels() map[string]string {
	var obj manifests.Object
	rec.wanted(&obj)
	return obj.Meta().Labels
}

// tell records what a plan has to tell.
func (m *Manager) tell(key manifests.Key, events []workload.Event) {
	for _, e := range events {
		typ := eventNormal
		if e.Warning {
			typ = eventWarning
		}
		m.event(key, typ, e.Reason, "%s", e.Message)
	}
}

// kindRevision is the kind of a template that a StatefulSet has had.
const kindRevision = "ControllerRevision"

// revisionViews shows the revisions of a StatefulSet as Kubernetes does.
func (v *view) revisionViews() []*view {
	if v == nil {
		return nil
	}
	views := make([]*view, 0, len(v.revisions))
	for _, r := range v.revisions {
		var data struct {
			Data struct {
				Spec struct {
					Template json.RawMessage `json:"template"`
				} `json:"spec"`
			} `json:"data"`
			Revision int64 `json:"revision"`
		}
		data.Data.Spec.Template, data.Revision = r.Manifest, r.Revision
		manifest, err := json.Marshal(&data)
		if err != nil { // It was read from JSON.
			continue
		}
		views = append(views, &view{
			key:        manifests.Key{Kind: kindRevision, Namespace: v.key.Namespace, Name: r.Name},
			apiVersion: "apps/v1", kind: kindRevision, manifest: manifest, labels: r.Template.Labels,
			uid: v.uid + "-" + types.UID(r.Hash), generation: 1, created: r.CreationTimestamp, source: v.source,
			owner: &metav1.OwnerReference{APIVersion: v.apiVersion, Kind: v.kind, Name: v.key.Name, UID: v.uid, Controller: new(true)},
		})
	}
	return views
}
