package manifests

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition types of a Job, as Kubernetes has them.
const (
	ConditionSuccessCriteriaMet = "SuccessCriteriaMet" // enough has succeeded; what still runs is being ended
	ConditionComplete           = "Complete"           // as many as were wanted have succeeded
	ConditionFailureTarget      = "FailureTarget"      // the job has failed; what still runs is being ended
	ConditionFailed             = "Failed"             // the job has failed for good
)

// JobStatus is what is true of a Job now; its fields are Kubernetes'.
type JobStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	// startTime is when the job was accepted, or resumed after a suspension.
	StartTime      *metav1.Time `json:"startTime,omitempty"`
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// active, ready and terminating count sandboxes that are there; succeeded and
	// failed all that ended.
	Active      int32 `json:"active,omitempty"`
	Ready       int32 `json:"ready,omitempty"`
	Terminating int32 `json:"terminating,omitempty"`
	Succeeded   int32 `json:"succeeded,omitempty"`
	Failed      int32 `json:"failed,omitempty"`
	// completedIndexes are those of an Indexed job that have succeeded: "1,3-5".
	CompletedIndexes string  `json:"completedIndexes,omitempty"`
	Source           *Source `json:"source,omitempty"`
}

// CronJobStatus is what is true of a CronJob now; its fields are Kubernetes'.
type CronJobStatus struct {
	ObservedGeneration int64                    `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition       `json:"conditions,omitempty"`
	Active             []corev1.ObjectReference `json:"active,omitempty"`
	LastScheduleTime   *metav1.Time             `json:"lastScheduleTime,omitempty"`
	LastSuccessfulTime *metav1.Time             `json:"lastSuccessfulTime,omitempty"`
	Source             *Source                  `json:"source,omitempty"`
}

// StatefulSetStatus is what is true of a StatefulSet now; its fields are
// Kubernetes'.
type StatefulSetStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	Replicas           int32              `json:"replicas"`
	ReadyReplicas      int32              `json:"readyReplicas,omitempty"`
	AvailableReplicas  int32              `json:"availableReplicas"`
	CurrentReplicas    int32              `json:"currentReplicas,omitempty"`
	UpdatedReplicas    int32              `json:"updatedReplicas,omitempty"`
	CurrentRevision    string             `json:"currentRevision,omitempty"`
	UpdateRevision     string             `json:"updateRevision,omitempty"`
	Source             *Source            `json:"source,omitempty"`
}

// ControllerRevision is one template that a StatefulSet has had.
type ControllerRevision struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
	// Hash is the template's TemplateHash.
	Hash              string                  `json:"hash"`
	CreationTimestamp metav1.Time             `json:"creationTimestamp"`
	Template          *corev1.PodTemplateSpec `json:"template"`
	// Manifest is the template as it was written, as JSON.
	Manifest json.RawMessage `json:"manifest,omitempty"`
}
