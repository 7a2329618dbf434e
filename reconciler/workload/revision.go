package workload

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// revisionHash is how much of a template's hash names a revision.
const revisionHash = 10

// Revise returns the revisions of a set with its template as the newest, and that
// one's name. A template that the set had before is no new revision: it gets the
// highest number again. manifest is the template as written.
func Revise(set string, revisions []manifests.ControllerRevision, template *corev1.PodTemplateSpec, manifest json.RawMessage, now time.Time) ([]manifests.ControllerRevision, string) {
	hash := manifests.TemplateHash(template)
	revisions = slices.Clone(revisions)
	var highest int64
	for _, r := range revisions {
		highest = max(highest, r.Revision)
	}
	if i := slices.IndexFunc(revisions, func(r manifests.ControllerRevision) bool { return r.Hash == hash }); i >= 0 {
		if revisions[i].Revision < highest {
			revisions[i].Revision = highest + 1
			sortRevisions(revisions)
		}
		return revisions, set + "-" + hash[:revisionHash]
	}
	r := manifests.ControllerRevision{
		Name: set + "-" + hash[:revisionHash], Revision: highest + 1, Hash: hash,
		CreationTimestamp: seconds(now), Template: template.DeepCopy(), Manifest: manifest,
	}
	return append(revisions, r), r.Name
}

// Forget drops the oldest revisions beyond a limit, of those that nothing is made
// from. limit does not count those in use.
func Forget(revisions []manifests.ControllerRevision, limit int32, inUse func(name string) bool) []manifests.ControllerRevision {
	idle := 0
	for _, r := range revisions {
		if !inUse(r.Name) {
			idle++
		}
	}
	return slices.DeleteFunc(slices.Clone(revisions), func(r manifests.ControllerRevision) bool {
		if idle <= int(limit) || inUse(r.Name) {
			return false
		}
		idle--
		return true
	})
}

func sortRevisions(revisions []manifests.ControllerRevision) {
	slices.SortFunc(revisions, func(a, b manifests.ControllerRevision) int { return cmp.Compare(a.Revision, b.Revision) })
}
