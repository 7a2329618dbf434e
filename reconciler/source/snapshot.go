package source

import (
	"slices"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Snapshot is what the manifests said at one moment. It is shared: read only.
type Snapshot struct {
	// Objects come in the order of their files' paths, and as in the file. Two
	// may have the same key: they then differ in Position.
	Objects []*manifests.Object
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
	// Sources are where this came from.
	Sources []Status
}

// Status tells how a source fares.
type Status struct {
	// Name is what metrics and people call it.
	Name string
	// Roots are what the names of its files begin with.
	Roots []string
	// LastSync is when it could last be seen completely, whether or not there was
	// a change; zero if it never was.
	LastSync time.Time
	// Revision is the commit that its manifests are of; nil for directories, and as
	// long as there is none.
	Revision *manifests.Revision
	// Problem is why its manifests may not be what it has now; nil if they are.
	Problem *Problem
}

// Problem is a reason why a source is not followed.
type Problem struct {
	Reason, Message string
}

// Reasons of problems.
const (
	// ReasonCommitRefused: the branch's commit is not taken, an earlier one stays.
	ReasonCommitRefused = "CommitRefused"
	// ReasonSourceUnreachable: nobody knows what the branch's commit is.
	ReasonSourceUnreachable = "SourceUnreachable"
)

// Holds reports whether a file of that name is the source's, whether or not it
// is there.
func (s Status) Holds(file string) bool {
	return slices.ContainsFunc(s.Roots, func(root string) bool { return strings.HasPrefix(file, root) })
}
