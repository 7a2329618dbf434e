package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// object is an object as the daemon sends it: what tables and descriptions
// need, and its JSON.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	// Status is a sandbox's.
	Status manifests.SandboxStatus `json:"status"`

	// Data and Type are a ConfigMap's or Secret's.
	Data       map[string]json.RawMessage `json:"data"`
	BinaryData map[string]json.RawMessage `json:"binaryData"`
	Type       string                     `json:"type"`
	// Handler is a RuntimeClass's.
	Handler string `json:"handler"`
	// Revision is a ControllerRevision's number.
	Revision int64 `json:"revision"`

	raw json.RawMessage
}

func decodeObject(raw json.RawMessage) (object, error) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return object{}, fmt.Errorf("read the daemon's answer: %w", err)
	}
	o.raw = raw
	return o, nil
}

func decodeObjects(raws [][]byte) ([]object, error) {
	objects := make([]object, len(raws))
	for i, raw := range raws {
		var err error
		if objects[i], err = decodeObject(raw); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// isSandbox reports whether the object is a VM, whatever kind it was written as.
func (o *object) isSandbox() bool {
	switch o.Kind {
	case manifests.KindConfigMap, manifests.KindSecret, manifests.KindPersistentVolumeClaim, manifests.KindSandboxTemplate, manifests.KindRuntimeClass, manifests.KindNetwork, kindRevision:
		return false
	}
	return !o.isWorkload()
}

// ref returns "sandbox/web", with the kind as written.
func (o *object) ref() string { return strings.ToLower(o.Kind) + "/" + o.Name }

// key returns what names the object to the daemon.
func (o *object) key() *api.Ref {
	kind := o.Kind
	if o.isSandbox() {
		kind = manifests.KindSandbox
	}
	return &api.Ref{Kind: kind, Namespace: o.Namespace, Name: o.Name}
}

// id tells objects apart.
func (o *object) id() string { return o.Kind + " " + o.Namespace + "/" + o.Name }

// condition returns a condition of the object, or nil.
func (o *object) condition(name string) *metav1.Condition {
	for i, c := range o.Status.Conditions {
		if strings.EqualFold(c.Type, name) {
			return &o.Status.Conditions[i]
		}
	}
	return nil
}

func (o *object) conditionIs(name string, status metav1.ConditionStatus) bool {
	return meta.IsStatusConditionPresentAndEqual(o.Status.Conditions, name, status)
}

// sandbox returns the sandbox in its internal form, with defaults; nil if it
// cannot be read.
func (o *object) sandbox() *manifests.Sandbox {
	var m map[string]any
	if err := json.Unmarshal(o.raw, &m); err != nil {
		return nil
	}
	delete(m, "status")
	if metadata, ok := m["metadata"].(map[string]any); ok {
		// No manifest has these.
		delete(metadata, "ownerReferences")
		delete(metadata, "deletionTimestamp")
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	objects, _ := manifests.Parse("object.json", bytes.TrimSpace(manifest))
	if len(objects) != 1 {
		return nil
	}
	return objects[0].Sandbox
}

// hasContainer reports whether a sandbox has a container; an empty name is that
// of the first.
func (o *object) hasContainer(name string) bool {
	return name == "" || slices.ContainsFunc(slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses), func(c corev1.ContainerStatus) bool { return c.Name == name })
}

// readyOf says how many containers are ready, of how many: "1/2"; "-" when it is
// not known which there are, as no manifest of it could be read yet.
func (o *object) readyOf() string {
	if len(o.Status.ContainerStatuses) == 0 {
		return "-"
	}
	ready := 0
	for _, c := range o.Status.ContainerStatuses {
		if c.Ready {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(o.Status.ContainerStatuses))
}

func (o *object) restarts() (n int32) {
	for _, c := range o.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}

// state sums a sandbox up in one word: its phase, or what keeps it from there.
func (o *object) state() string {
	if o.DeletionTimestamp != nil {
		return "Terminating"
	}
	if o.isWorkload() {
		return o.workloadState()
	}
	if w := o.waiting(); w != nil && w.Reason != "" && o.Status.Phase != manifests.PhaseStopping && o.Status.Phase != manifests.PhaseStopped {
		if w == harmed(o.Status.InitContainerStatuses) {
			return "Init:" + w.Reason
		}
		return w.Reason
	}
	if o.Status.Phase == "" {
		return string(manifests.PhasePending)
	}
	if n := len(o.Status.InitContainerStatuses); n > 0 && o.Status.Phase == manifests.PhaseStarting {
		completed := 0
		for _, c := range o.Status.InitContainerStatuses {
			if c.Ready {
				completed++
			}
		}
		return fmt.Sprintf("Init:%d/%d", completed, n)
	}
	return string(o.Status.Phase)
}

// waiting returns why a container waits that has come to harm: creating one is
// the normal way up.
func (o *object) waiting() *corev1.ContainerStateWaiting {
	if w := harmed(o.Status.InitContainerStatuses); w != nil {
		return w
	}
	return harmed(o.Status.ContainerStatuses)
}

func harmed(statuses []corev1.ContainerStatus) *corev1.ContainerStateWaiting {
	for _, c := range statuses {
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return w
		}
	}
	return nil
}

// trouble says what is wrong with a sandbox, in a sentence; empty if nothing is.
func (o *object) trouble() string {
	if c := o.condition(manifests.ConditionSynced); c != nil && c.Status != metav1.ConditionTrue {
		return c.Message
	}
	if c := o.condition(manifests.ConditionStalled); c != nil && c.Status == metav1.ConditionTrue {
		return c.Message
	}
	if w := o.waiting(); w != nil && w.Message != "" {
		return w.Message
	}
	switch o.Status.Phase {
	case manifests.PhasePending, manifests.PhaseFailed:
		if c := o.condition(manifests.ConditionReady); c != nil && c.Status == metav1.ConditionFalse {
			return c.Message
		}
	}
	return ""
}

// containers returns the names of a sandbox's containers, in the manifest's order.
func (o *object) containers() []string {
	var names []string
	if s := o.sandbox(); s != nil {
		for _, c := range s.AllContainers() {
			names = append(names, c.Name)
		}
	}
	return names
}
