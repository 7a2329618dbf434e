// Package source yields the desired state: every object that the manifests on
// disk describe, as one Snapshot, again and again as they change.
//
// It is level-triggered. File system events only say "look again"; what counts
// is the whole set found on disk once it has been quiet for a moment, and a
// periodic resync looks without being told. A Snapshot that is not Complete must
// not be taken as a reason to remove anything.
//
// The package decides nothing about objects: duplicates, errors and removals are
// the reconciler's business. It never writes.
package source
