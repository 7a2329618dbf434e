package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

const recordVersion = 1

var errRecordVersion = errors.New("written by another version of the daemon")

// Record is the durable memory of one object: what of it was applied, and what
// users asked for beside the manifest. The set of all records is the inventory.
type Record struct {
	Version           int           `json:"version"`
	Key               manifests.Key `json:"key"`
	UID               types.UID     `json:"uid"`
	Generation        int64         `json:"generation"`
	CreationTimestamp metav1.Time   `json:"creationTimestamp"`
	// DeletionTimestamp is set when the removal has been decided: it then happens,
	// whatever the manifests say later.
	DeletionTimestamp *metav1.Time `json:"deletionTimestamp,omitempty"`
	// SpecHash is the hash that Generation counts the changes of.
	SpecHash string `json:"specHash"`
	// BuildHash stands for the part of the spec that a VM is built from: the
	// SpecHash after the last change that was more than live.
	BuildHash string `json:"buildHash,omitempty"`
	// APIVersion and Kind as written.
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Source     manifests.Position `json:"source"`
	// Revision is the commit of which Source was when this was written: the object
	// may stand in later ones just so.
	Revision *manifests.Revision `json:"revision,omitempty"`
	// Manifest as last applied; a Secret's is never kept.
	Manifest json.RawMessage `json:"manifest,omitempty"`

	// Owner is the workload that made the object; nil for one of a manifest's.
	Owner *metav1.OwnerReference `json:"owner,omitempty"`
	// Workload is the rest of a workload's record.
	Workload *WorkloadRecord `json:"workload,omitempty"`

	// The rest is a sandbox's.

	Sandbox   *manifests.Sandbox `json:"sandbox,omitempty"`
	Overrides Overrides          `json:"overrides,omitzero"`
	// Built is what the bundle's disk and VM were made from; nil means that there
	// is no disk yet.
	Built *Build `json:"built,omitempty"`
	// Hypervisor is the process that must not outlive its plugin process.
	Hypervisor procfs.ID `json:"hypervisor,omitzero"`
	// Outcome is set when the sandbox ran to its end and is not to be started
	// again.
	Outcome *Outcome `json:"outcome,omitempty"`
}

// Overrides are what a user asked for beside the manifest.
type Overrides struct {
	// Stopped holds the sandbox stopped.
	Stopped bool `json:"stopped,omitempty"`
	// Paused holds its CPUs stopped.
	Paused bool `json:"paused,omitempty"`
	// GraceSeconds replaces the manifest's grace period while Stopped.
	GraceSeconds *int64 `json:"graceSeconds,omitempty"`
	// RestartedAt asks for a VM that was started later.
	RestartedAt time.Time `json:"restartedAt,omitzero"`
	// SuspendedAt is since when the manifest is not followed.
	SuspendedAt time.Time `json:"suspendedAt,omitzero"`
}

// Build says what a VM was made from.
type Build struct {
	// BuildHash is the record's of that time.
	BuildHash  string `json:"buildHash"`
	ConfigHash string `json:"configHash,omitempty"`
	// LiveHash is of what can change while the VM runs, as it has it now; empty in
	// records of earlier versions.
	LiveHash string `json:"liveHash,omitempty"`
	// RestartedAt is the override that was followed.
	RestartedAt time.Time `json:"restartedAt,omitzero"`
	Runtime     string    `json:"runtime"`
	// Images holds the digest of each image by the name that asked for it.
	Images map[string]string `json:"images,omitempty"`
	// Claims are the volumes that the VM has.
	Claims []ClaimUse `json:"claims,omitempty"`
}

// Outcome is how a sandbox ended for good.
type Outcome struct {
	Phase   manifests.Phase `json:"phase"`
	Message string          `json:"message,omitempty"`
	Time    metav1.Time     `json:"time"`
}

// loadRecord reads a record. A missing file is fs.ErrNotExist.
func loadRecord(path string) (*Record, error) {
	var r Record
	if err := state.ReadJSON(path, &r); err != nil {
		return nil, err
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("read %s: %w (format %d, this one knows %d)", path, errRecordVersion, r.Version, recordVersion)
	}
	if r.Key.Name == "" || r.Key.Kind == manifests.KindSandbox && r.Sandbox == nil || r.Key.IsWorkload() && r.Workload == nil {
		return nil, fmt.Errorf("read %s: not the record of an object", path)
	}
	return &r, nil
}

// save writes the record to path.
func (r *Record) save(path string) error {
	return state.WriteJSON(path, r)
}
