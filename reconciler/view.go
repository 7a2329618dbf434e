package reconciler

import (
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// view is one object as the API shows it. It is never changed.
type view struct {
	key              manifests.Key
	apiVersion, kind string
	manifest         json.RawMessage
	labels           map[string]string
	sandbox          *manifests.Sandbox // as applied
	uid              types.UID
	generation       int64
	created          metav1.Time
	deleted          *metav1.Time
	source           manifests.Position
	revision         *manifests.Revision     // of what Git has
	status           manifests.SandboxStatus // of a sandbox
	claim            *manifests.ClaimStatus
	workload         any                            // the status of a workload
	revisions        []manifests.ControllerRevision // of a StatefulSet
	owner            *metav1.OwnerReference
	problem          *problem
	// known says that the status is what this daemon has found, not what an earlier
	// one has left.
	known bool
}

func (v *view) equal(w *view) bool {
	return v.apiVersion == w.apiVersion && v.kind == w.kind && v.uid == w.uid && v.generation == w.generation &&
		v.source == w.source && sameRevision(v.revision, w.revision) && v.known == w.known && v.deleted.Equal(w.deleted) && v.problem.equal(w.problem) && string(v.manifest) == string(w.manifest) &&
		reflect.DeepEqual(v.status, w.status) && equality.Semantic.DeepEqual(v.workload, w.workload) && reflect.DeepEqual(v.owner, w.owner)
}

// json is the manifest with what the daemon knows beside it.
func (v *view) json() (json.RawMessage, error) {
	obj := map[string]any{}
	if len(v.manifest) > 0 {
		if err := json.Unmarshal(v.manifest, &obj); err != nil {
			return nil, fmt.Errorf("show %s: %w", v.key, err)
		}
	}
	obj["apiVersion"], obj["kind"] = v.apiVersion, v.kind
	meta, _ := obj["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["name"], meta["namespace"] = v.key.Name, v.key.Namespace
	if v.uid != "" {
		meta["uid"], meta["generation"], meta["creationTimestamp"] = v.uid, v.generation, v.created
	}
	if v.deleted != nil {
		meta["deletionTimestamp"] = v.deleted
	}
	if v.owner != nil {
		meta["ownerReferences"] = []*metav1.OwnerReference{v.owner}
	}
	obj["metadata"] = meta
	switch {
	case v.key.Kind == manifests.KindSandbox:
		obj["status"] = &v.status
	case v.claim != nil:
		obj["status"] = v.claim
	case v.workload != nil:
		obj["status"] = v.workload
	case v.revision != nil:
		obj["status"] = map[string]any{"source": manifests.Source{Position: v.source, Revision: v.revision}}
	}
	return json.Marshal(obj)
}

func configVersion(kind string) string {
	switch kind {
	case manifests.KindSandboxTemplate:
		return manifests.ExtensionsAPIVersion
	case manifests.KindNetwork:
		return manifests.APIVersion
	case manifests.KindRuntimeClass:
		return "node.k8s.io/v1"
	}
	return "v1"
}

// view shows a config object. A Secret's manifest comes without its values.
func (c *config) view() *view {
	v := &view{
		key: c.identity.Key, apiVersion: configVersion(c.identity.Key.Kind), kind: c.identity.Key.Kind, uid: c.identity.UID,
		generation: c.identity.Generation, created: c.identity.CreationTimestamp, source: c.identity.Source,
		problem: c.trouble(),
	}
	if c.object != nil {
		v.manifest, v.revision = c.object.Manifest, c.object.Revision
		v.labels = c.object.Meta().Labels
		if c.object.Claim != nil {
			v.claim = claimStatus(c)
		}
	}
	return v
}
