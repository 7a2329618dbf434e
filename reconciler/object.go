package reconciler

import (
	"context"
	"crypto/sha256"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// object is everything about one sandbox: what the manifests say, what was
// applied, what runs, what is being done.
type object struct {
	managed

	bundle bundle.Bundle

	// leaving says that the manifests have it no more; see awaitDependents.
	leaving atomic.Bool

	// refreshing has room for one: whoever asks the instance for its state.
	refreshing chan struct{}

	// The mutex guards what follows too.

	// revision is the last commit in which it stood so; nil if it is of none.
	revision *manifests.Revision

	attach   Attachment
	instance Instance
	detach   context.CancelFunc // ends the goroutine that watches the instance
	snapshot drivers.Snapshot
	lostWhy  string
	vmUp     bool // the VM was seen to run, and its end was not taken in yet
	neverRan bool // the last VM ended because nothing could be started in it
	ending   bool // its end was asked for

	references   []manifests.Reference // of the sandbox as applied
	claims       []manifests.Claim     // likewise
	dependencies []manifests.Key       // likewise
	holding      bool                  // volumes: see attachments
	disks        []heldDisk            // of the VM that runs
	live         string                // the hash of what can change while it runs
	onNetworks   string                // what its networks were last told of it
	containers   containers
	probers      map[proberKey]*prober
	vmBackoff    backoff // before the next VM after one that was lost
	vmStarted    time.Time
	prepared     *prepared
	imagesFor    string // the BuildHash of which every image is here
	hasTurn      bool   // to boot, see takeTurn

	op       *operation
	failures map[Verb]*failure
	goal     goalKey // as last planned for

	progress  progress
	change    change            // accepted and not yet applied
	stages    []manifests.Stage // passed before the VM's own, for the current start
	since     time.Time         // when what is now on its way to Ready was seen
	wasReady  bool
	status    manifests.SandboxStatus
	saved     [sha256.Size]byte // of the status as it is on disk
	diskError error             // why the record could not be written
	measured  bool              // the boot of this VM was measured
}

// intent is what the manifests say about an object.
type intent struct {
	// known says that the manifests have been looked at.
	known bool
	// object is what should be applied; nil when there is nothing to apply that is
	// newer than the record.
	object *manifests.Object
	// gone says that the object is to be removed.
	gone bool
	// problem says why the manifests as they are cannot be followed.
	problem *problem
	// seen is when the look began that found it so, judged when it became the
	// intent.
	seen, judged time.Time
	// owner is the workload whose intent it is; nil where it is a manifest's. uid is
	// then the object's, should it be made.
	owner *metav1.OwnerReference
	uid   types.UID
}

// problem is a reason not to follow the manifests. A step may fail with one.
type problem struct {
	Reason, Message string
}

func (p *problem) Error() string { return p.Message }

func (p *problem) equal(q *problem) bool {
	return p == q || p != nil && q != nil && *p == *q
}

// failure is a step that did not work out. It is forgotten when what is wanted
// changes and when the step succeeds.
type failure struct {
	err       error
	tries     int
	permanent bool
	image     bool // it was about an image
	at        time.Time
	backoff   backoff
}

// goalKey tells whether what is wanted has changed so much that a step under way
// is in vain.
type goalKey struct {
	goal        Goal
	spec        string
	config      string
	pull        string
	restartedAt time.Time
}

// prepared is all that a boot needs.
type prepared struct {
	spec, config  string // the hashes of what it was made from
	live          string // and of what can change later
	configuration drivers.Configuration
	secrets       map[string][]byte
	images        map[string]string
	runtime       string
	claims        []ClaimUse
}

// policy of the sandbox as applied.
func (o *object) spec() *manifests.SandboxSpec { return &o.record.Sandbox.Spec }

// stage notes the time of a stage, once for each start.
func (o *object) stage(name string, at time.Time) {
	for _, s := range o.stages {
		if s.Name == name {
			return
		}
	}
	o.stages = append(o.stages, manifests.Stage{Name: name, Time: microTime(at)})
}
