package reconciler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/workload"
)

// workloadObject is an object that nothing runs for but what it makes: a Job, a
// CronJob, a StatefulSet, a SandboxWarmPool or a SandboxClaim.
type workloadObject struct {
	managed

	dir string // of its record

	// The mutex guards what follows too. A workload's is taken before that of what
	// it has made.

	// refused says why the manifest cannot be followed, though it is valid.
	refused *problem
	// obstacle says why something that is wanted cannot be made.
	obstacle *problem
	// diskError says why the record could not be written.
	diskError error
}

// WorkloadRecord is the part of a Record that workloads have.
type WorkloadRecord struct {
	Job      *batchv1.Job      `json:"job,omitempty"`
	JobState workload.JobState `json:"jobState,omitzero"`

	CronJob       *batchv1.CronJob        `json:"cronJob,omitempty"`
	CronJobStatus manifests.CronJobStatus `json:"cronJobStatus,omitzero"`

	StatefulSet       *appsv1.StatefulSet         `json:"statefulSet,omitempty"`
	StatefulSetStatus manifests.StatefulSetStatus `json:"statefulSetStatus,omitzero"`
	// Revisions of a StatefulSet's template, the newest last.
	Revisions []manifests.ControllerRevision `json:"revisions,omitempty"`

	SandboxWarmPool       *manifests.SandboxWarmPool      `json:"sandboxWarmPool,omitempty"`
	SandboxWarmPoolStatus manifests.SandboxWarmPoolStatus `json:"sandboxWarmPoolStatus,omitzero"`

	SandboxClaim       *manifests.SandboxClaim      `json:"sandboxClaim,omitempty"`
	SandboxClaimStatus manifests.SandboxClaimStatus `json:"sandboxClaimStatus,omitzero"`
}

// want makes the record that of a manifest's object.
func (rec *WorkloadRecord) want(obj *manifests.Object) {
	rec.Job, rec.CronJob, rec.StatefulSet = obj.Job, obj.CronJob, obj.StatefulSet
	rec.SandboxWarmPool, rec.SandboxClaim = obj.SandboxWarmPool, obj.SandboxClaim
}

// wanted is the reverse.
func (rec *WorkloadRecord) wanted(obj *manifests.Object) {
	obj.Job, obj.CronJob, obj.StatefulSet = rec.Job, rec.CronJob, rec.StatefulSet
	obj.SandboxWarmPool, obj.SandboxClaim = rec.SandboxWarmPool, rec.SandboxClaim
}

func (w *workloadObject) recordFile() string { return filepath.Join(w.dir, "object.json") }

// reference is how what the workload makes refers to it.
func (w *workloadObject) reference() *metav1.OwnerReference {
	return &metav1.OwnerReference{
		APIVersion: w.record.APIVersion, Kind: w.record.Kind, Name: w.key.Name, UID: w.record.UID,
		Controller: new(true), BlockOwnerDeletion: new(true),
	}
}

func (m *Manager) ensureWorkload(key manifests.Key) *workloadObject {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.workloads[key]
	if w == nil {
		w = &workloadObject{managed: managed{key: key}, dir: m.opts.StateDir.Workload(key.Kind, key.Namespace, key.Name)}
		m.workloads[key] = w
	}
	return w
}

func (m *Manager) workload(key manifests.Key) *workloadObject {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.workloads[key]
}

// reconcileWorkload looks at a workload once: it takes in what the manifests say
// and how its sandboxes are, decides, keeps the decision and carries it out.
func (m *Manager) reconcileWorkload(key manifests.Key) (again time.Time, err error) {
	w := m.workload(key)
	if w == nil {
		return time.Time{}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return time.Time{}, nil
	}
	now := time.Now()
	w.diskError = m.acceptWorkload(w, now)
	switch {
	case w.record == nil && w.unreadable == "" && w.diskError == nil && w.intent.known && !w.intent.wants():
		m.forgetWorkload(w)
		return time.Time{}, nil
	case w.record == nil:
		m.keepOwned(w)
	case w.record.DeletionTimestamp != nil:
		return time.Time{}, m.endWorkload(w)
	case !w.intent.known:
		// The manifests have not been looked at yet.
	default:
		again, err = m.runWorkload(w, now)
		w.diskError = errors.Join(w.diskError, err)
		if w.obstacle != nil { // It goes away without a word.
			again = earliest(again, now.Add(hostDelay))
		}
	}
	m.showWorkload(w, now)
	return again, w.diskError
}

// runWorkload decides what a workload makes, and has it made.
func (m *Manager) runWorkload(w *workloadObject, now time.Time) (time.Time, error) {
	w.obstacle = nil
	switch rec := w.record.Workload; {
	case rec.Job != nil:
		return m.runJob(w, now)
	case rec.CronJob != nil:
		return m.runCronJob(w, now)
	case rec.StatefulSet != nil:
		return m.runStatefulSet(w, now)
	case rec.SandboxWarmPool != nil:
		return m.runWarmPool(w, now)
	case rec.SandboxClaim != nil:
		return m.runClaim(w, now)
	}
	return time.Time{}, fmt.Errorf("%s: its record holds nothing of its kind", w.key)
}

// acceptWorkload makes the record say what the manifests want, or the owner.
func (m *Manager) acceptWorkload(w *workloadObject, now time.Time) error {
	in, r := w.intent, w.record
	switch {
	case !in.known, w.unreadable != "", r == nil && in.object == nil, r != nil && r.DeletionTimestamp != nil:
		return nil
	case r == nil:
		return m.createWorkload(w, now)
	case in.gone:
		next := *r
		next.DeletionTimestamp = new(metav1.NewTime(now.Truncate(time.Second)))
		if err := w.replaceRecord(&next); err != nil {
			return err
		}
		m.event(w.key, eventNormal, ReasonDeleting, "%s: it is removed, and what it has made", in.end())
		return nil
	case in.object == nil:
		return nil
	}
	return m.updateWorkload(w)
}

func (m *Manager) createWorkload(w *workloadObject, now time.Time) error {
	in, obj := w.intent, w.intent.object
	r := &Record{
		Version: recordVersion, Key: w.key, UID: newUID(), Generation: 1,
		CreationTimestamp: metav1.NewTime(now.Truncate(time.Second)),
		SpecHash:          obj.WorkloadHash(),
		APIVersion:        obj.APIVersion, Kind: obj.Kind, Source: obj.Position, Revision: obj.Revision,
		Manifest: obj.Manifest, Owner: in.owner,
		Workload: &WorkloadRecord{},
	}
	r.Workload.want(obj)
	if in.uid != "" {
		r.UID = in.uid
	}
	if err := w.replaceRecord(r); err != nil {
		return err
	}
	m.event(w.key, eventNormal, "Created", "accepted from %s", in.origin())
	m.wakeClaims(w.key)
	return nil
}

func (m *Manager) updateWorkload(w *workloadObject) error {
	r, obj := w.record, w.intent.object
	w.refused = nil
	if r.Source == obj.Position && string(r.Manifest) == string(obj.Manifest) {
		return nil
	}
	if r.Workload.Job != nil {
		if name := manifests.ImmutableChange(&r.Workload.Job.Spec, &obj.Job.Spec); name != "" {
			w.refused = &problem{ReasonImmutableField, fmt.Sprintf(
				"%s: spec.%s cannot be changed once a job was accepted: give the job another name, or remove it first", obj.Position, name)}
			return nil
		}
	}
	if set := r.Workload.StatefulSet; set != nil {
		if name := manifests.ImmutableClaims(&set.Spec, &obj.StatefulSet.Spec); name != "" {
			w.refused = &problem{ReasonImmutableField, fmt.Sprintf(
				"%s: of spec.%s only sizes and metadata can be changed once a set was accepted: give the set another name, or remove it first; its volumes stay", obj.Position, name)}
			return nil
		}
	}
	next, rec := *r, *r.Workload
	rec.want(obj)
	next.Source, next.Manifest, next.Workload, next.Owner = obj.Position, obj.Manifest, &rec, w.intent.owner
	next.Revision = obj.Revision
	next.SpecHash = obj.WorkloadHash()
	if next.SpecHash != r.SpecHash {
		next.Generation++
	}
	if err := w.replaceRecord(&next); err != nil {
		return err
	}
	if next.Generation != r.Generation {
		m.event(w.key, eventNormal, "Updated", "the spec changed: generation %d", next.Generation)
		m.wakeClaims(w.key)
	}
	return nil
}

// replaceRecord writes a new record and then makes it the workload's.
func (w *workloadObject) replaceRecord(next *Record) error {
	if err := state.MkdirAll(w.dir); err != nil {
		return fmt.Errorf("keep the record of %s: %w", w.key, err)
	}
	if err := next.save(w.recordFile()); err != nil {
		return fmt.Errorf("keep the record of %s: %w", w.key, err)
	}
	w.record = next
	return nil
}

// decide keeps what was decided, if it is another decision than before.
func (w *workloadObject) decide(change func(rec *WorkloadRecord)) error {
	next, rec := *w.record, *w.record.Workload
	change(&rec)
	if equality.Semantic.DeepEqual(&rec, w.record.Workload) {
		return nil
	}
	next.Workload = &rec
	return w.replaceRecord(&next)
}

// keepOwned leaves what a workload has made as it is, while nothing is known of
// what it wants.
func (m *Manager) keepOwned(w *workloadObject) {
	for _, key := range m.ownedBy(w.key) {
		e := m.managed(key)
		if e == nil {
			continue
		}
		e.mu.Lock()
		if owner := e.owner(); owner != nil && !e.intent.known {
			e.intent.known, e.intent.owner = true, owner
			m.queue.Add(key)
		}
		e.mu.Unlock()
	}
}

// endWorkload removes what a workload has made, and when nothing is left of that,
// the workload.
func (m *Manager) endWorkload(w *workloadObject) error {
	owned := m.ownedBy(w.key)
	if err := m.dropAllClaims(w, owned); err != nil {
		return err
	}
	for _, key := range owned {
		_ = m.entrust(key, w.reference(), intent{gone: true})
	}
	if len(owned) > 0 {
		m.showWorkload(w, time.Now())
		return nil
	}
	if err := os.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("remove the record of %s: %w", w.key, err)
	}
	m.event(w.key, eventNormal, "Deleted", "nothing is left of it")
	m.mu.Lock()
	delete(m.synced.confirmed, w.key)
	m.mu.Unlock()
	if !w.intent.wants() {
		m.forgetWorkload(w)
		return nil
	}
	// A manifest wants it again.
	w.record, w.refused, w.obstacle = nil, nil, nil
	m.queue.Add(w.key)
	return nil
}

// forgetWorkload drops a workload that is no more. Its mutex is held.
func (m *Manager) forgetWorkload(w *workloadObject) {
	w.dead = true
	m.mu.Lock()
	delete(m.workloads, w.key)
	m.mu.Unlock()
	m.hub.removed(w.key, w.view.Load())
	m.tellRevisions(w.view.Load(), nil)
	m.disown(&w.managed)
	m.wakeClaims(w.key)
}

// loadWorkloads reads the records of workloads.
func (m *Manager) loadWorkloads() error {
	paths, err := filepath.Glob(filepath.Join(m.opts.StateDir.Workloads(), "*", "*", "*", "object.json"))
	if err != nil {
		return fmt.Errorf("load the inventory: %w", err)
	}
	for _, path := range paths {
		r, err := loadRecord(path)
		key := keyOfWorkload(path)
		if err == nil && (r.Key.IsWorkload() && m.opts.StateDir.Workload(r.Key.Kind, r.Key.Namespace, r.Key.Name) == filepath.Dir(path)) {
			key = r.Key
		} else if err == nil {
			err = fmt.Errorf("read %s: it is the record of %s", path, r.Key)
		}
		if errors.Is(err, fs.ErrNotExist) || !key.IsWorkload() {
			continue
		}
		w := m.ensureWorkload(key)
		if err != nil {
			m.log.Error("load the inventory: leave a workload alone", "object", key.String(), "error", err)
			w.unreadable = err.Error()
			continue
		}
		w.record = r
		if r.Owner != nil {
			m.own(key, ownerKey(key.Namespace, r.Owner))
		}
		m.showWorkload(w, time.Now())
	}
	return nil
}

// keyOfWorkload reads a workload's key off the path of its record.
func keyOfWorkload(path string) manifests.Key {
	dir := filepath.Dir(path)
	key := manifests.Key{Name: filepath.Base(dir), Namespace: filepath.Base(filepath.Dir(dir))}
	for _, kind := range manifests.WorkloadKinds() {
		if key.Kind = kind; filepath.Base(filepath.Dir(filepath.Dir(dir))) == strings.ToLower(kind) {
			return key
		}
	}
	return manifests.Key{}
}
