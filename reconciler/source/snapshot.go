package source

import (
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Snapshot is what the manifests said at one moment. It is shared: read only.
type Snapshot struct {
	// Objects come in the order of their files' paths, and as in the file. Two
	// may have the same key: they then differ in Position.
	Objects []manifests.Object
	// Errors are about documents that could not be turned into objects, and about
	// files and directories that could not be read (those have no line).
	Errors []*manifests.Error
	// Complete says that everything could be listed and read. If not, an object
	// that is missing here may still be desired.
	Complete bool
	// Settling says that what keeps the look from being Complete happened a moment
	// ago and may be nothing but the middle of a change: another Snapshot follows.
	Settling bool
	// Time is when the look began.
	Time time.Time
}
