package reconciler

import (
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// managed is what sandboxes and the workloads that make them have in common: what
// the manifests say of an object, and what of it was applied.
type managed struct {
	key manifests.Key

	// view is what the API shows; it is replaced, never changed.
	view atomic.Pointer[view]

	mu sync.Mutex
	// intent is what the manifests say now, or the object's owner.
	intent intent
	// record is what of it was applied; nil when nothing ever was.
	record *Record
	// unreadable says why the record cannot be read. The object is then left alone.
	unreadable string
	// dead says that the object was removed: whoever still holds it must look it
	// up again.
	dead bool
}

// owner returns the workload that the object belongs to; nil for one that a
// manifest has. e.mu is held.
func (e *managed) owner() *metav1.OwnerReference {
	if e.record != nil {
		return e.record.Owner
	}
	return e.intent.owner
}

// managed returns what is known of a sandbox or workload, nil if nothing is.
func (m *Manager) managed(key manifests.Key) *managed {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.managedLocked(key)
}

// managedLocked is managed for those who hold m.mu.
func (m *Manager) managedLocked(key manifests.Key) *managed {
	if key.IsWorkload() {
		if w := m.workloads[key]; w != nil {
			return &w.managed
		}
		return nil
	}
	if o := m.objects[key]; o != nil {
		return &o.managed
	}
	return nil
}

// ensureManaged is managed for an object that is made if need be.
func (m *Manager) ensureManaged(key manifests.Key) *managed {
	if key.IsWorkload() {
		return &m.ensureWorkload(key).managed
	}
	return &m.ensureObject(key).managed
}

// allManaged returns the sandboxes and workloads known now, in no order.
func (m *Manager) allManaged() []*managed {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*managed, 0, len(m.objects)+len(m.workloads))
	for _, o := range m.objects {
		all = append(all, &o.managed)
	}
	for _, w := range m.workloads {
		all = append(all, &w.managed)
	}
	return all
}

// hold returns an object with its mutex held: the one that there is, else a new
// one if create says so. It is nil if there is none.
func (m *Manager) hold(key manifests.Key, create bool) *managed {
	for {
		e := m.managed(key)
		if e == nil {
			if !create {
				return nil
			}
			e = m.ensureManaged(key)
		}
		e.mu.Lock()
		if !e.dead {
			return e
		}
		e.mu.Unlock() // It was removed a moment ago; what is said now is for its successor.
	}
}
