package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// suspension is the content of the file that says that no manifest is followed.
type suspension struct {
	Version int `json:"version"`
	// Since is when that was asked for; zero when manifests are followed.
	Since time.Time `json:"since,omitzero"`
}

// loadSuspension goes on as the last daemon was told to.
func (m *Manager) loadSuspension() error {
	var s suspension
	path := m.opts.StateDir.Suspension()
	err := state.ReadJSON(path, &s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && s.Version != recordVersion {
		err = fmt.Errorf("read %s: %w", path, errRecordVersion)
	}
	if err != nil {
		return fmt.Errorf("tell whether reconciling is suspended: %w", err)
	}
	m.suspended = s.Since
	m.opts.Metrics.SetSuspended(!s.Since.IsZero())
	return nil
}

// setSuspension suspends reconciling as a whole, or, with a zero time, resumes it.
func (m *Manager) setSuspension(since time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.suspended.IsZero() == since.IsZero() {
		return nil
	}
	if err := state.WriteJSON(m.opts.StateDir.Suspension(), &suspension{Version: recordVersion, Since: since}); err != nil {
		return err
	}
	m.suspended = since
	m.opts.Metrics.SetSuspended(!since.IsZero())
	return nil
}

// suspendedSince is zero when manifests are followed.
func (m *Manager) suspendedSince() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspended
}

// withhold decides whether what the manifests say about an object is to be left
// aside: reconciling is suspended, or the manifest that is gone said that its
// object stays. What a user asked to be removed goes all the same. e.mu is held.
func (m *Manager) withhold(e *managed, v verdict) verdict {
	r := e.record
	switch {
	case v.open || v.problem.chosen():
		return v
	case r != nil && r.DeletionTimestamp != nil:
		return v
	case v.gone && m.removalConfirmed(e.key):
		return v
	}
	whole := m.suspendedSince()
	switch {
	case r == nil && !whole.IsZero():
		return verdict{open: true} // It is not begun.
	case r == nil:
		return v
	case !r.Overrides.SuspendedAt.IsZero():
		return verdict{problem: &problem{ReasonSuspended, fmt.Sprintf(
			"its manifest is not followed since %s%s; \"vzctl reconcile resume sandbox %s\" has it followed again",
			r.Overrides.SuspendedAt.Local().Format(time.DateTime), r.pending(v), r.Key.Name)}}
	case !whole.IsZero():
		return verdict{problem: &problem{ReasonSuspended, fmt.Sprintf(
			"no manifest is followed since %s%s; \"vzctl reconcile resume --all\" has them followed again",
			whole.Local().Format(time.DateTime), r.pending(v))}}
	case v.gone && r.pruneDisabled():
		return verdict{problem: &problem{ReasonPruneDisabled, fmt.Sprintf(
			"its manifest is gone, and said %s: %s: it stays until \"vzctl delete %s %s\"",
			manifests.AnnotationPrune, manifests.PruneDisabled, strings.ToLower(r.Key.Kind), r.Key.Name)}}
	}
	return v
}

// pruneDisabled reports whether the object stays when its manifest goes.
func (r *Record) pruneDisabled() bool {
	var written struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	// Everything on record was parsed once.
	return json.Unmarshal(r.Manifest, &written) == nil &&
		written.Metadata.Annotations[manifests.AnnotationPrune] == manifests.PruneDisabled
}

// pending says what is not being followed.
func (r *Record) pending(v verdict) string {
	switch {
	case v.gone:
		return ", and is gone"
	case v.problem != nil:
		return ", and has an error: " + v.problem.Message
	case v.object != nil && (r.APIVersion != v.object.APIVersion || string(r.Manifest) != string(v.object.Manifest)):
		return ", and has changed: " + v.object.Position.String()
	}
	return ""
}

// chosen reports a problem that somebody wants to be there.
func (p *problem) chosen() bool {
	return p != nil && (p.Reason == ReasonSuspended || p.Reason == ReasonPruneDisabled)
}

// removalConfirmed reports whether a user asked for the removal of an object.
func (m *Manager) removalConfirmed(key manifests.Key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.synced.confirmed[key]
	return ok
}

// withholdAll leaves aside what is not to be followed, before it is decided what
// is removed.
func (m *Manager) withholdAll(verdicts map[manifests.Key]verdict) {
	for _, e := range m.allManaged() {
		v, ok := verdicts[e.key]
		if !ok {
			continue
		}
		e.mu.Lock()
		verdicts[e.key] = m.withhold(e, v)
		e.mu.Unlock()
	}
}

// followsConfig reports whether what the manifests say of a config object is
// taken in. While reconciling is suspended it is not, but what a daemon that was
// restarted knows by its hash alone. m.mu is held.
func (m *Manager) followsConfig(was *config, v verdict) bool {
	if m.suspended.IsZero() {
		return true
	}
	return was != nil && was.object == nil && v.object != nil && was.hash(v.object) == was.identity.Hash
}
