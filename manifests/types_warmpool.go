package manifests

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ExtensionsAPIVersion is that of agent-sandbox's templates, pools and claims.
const ExtensionsAPIVersion = "extensions.agents.x-k8s.io/v1beta1"

// SandboxBlueprint is what agent-sandbox's Sandbox and SandboxTemplate share: all
// but what a single sandbox's life is about.
type SandboxBlueprint struct {
	// podTemplate describes the containers.
	PodTemplate PodTemplate `json:"podTemplate"`
	// volumeClaimTemplates are claims made for each sandbox.
	VolumeClaimTemplates []PersistentVolumeClaimTemplate `json:"volumeClaimTemplates,omitempty"`
	// service is agent-sandbox's; one host has no Services.
	Service *bool `json:"service,omitempty"`
}

// SandboxTemplate is what the sandboxes of pools, and of claims, are made from.
type SandboxTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// metadata: name, namespace, labels and annotations.
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is wanted.
	Spec   SandboxTemplateSpec `json:"spec"`
	Status json.RawMessage     `json:"status,omitempty"`
}

// SandboxTemplateSpec is agent-sandbox's.
type SandboxTemplateSpec struct {
	SandboxBlueprint `json:",inline"`
	// networkPolicy of the sandboxes.
	NetworkPolicy json.RawMessage `json:"networkPolicy,omitempty"`
	// networkPolicyManagement says who sees to the sandboxes' network policy: Unmanaged is somebody else.
	NetworkPolicyManagement NetworkPolicyManagement `json:"networkPolicyManagement,omitempty"`
	// envVarsInjectionPolicy says whether a claim may set variables: Disallowed, Allowed (new ones) or Overrides.
	EnvVarsInjectionPolicy InjectionPolicy `json:"envVarsInjectionPolicy,omitempty"`
	// volumeClaimTemplatesPolicy says whether a claim may bring volume claim templates: Disallowed, Allowed (new ones) or Overrides.
	VolumeClaimTemplatesPolicy InjectionPolicy `json:"volumeClaimTemplatesPolicy,omitempty"`
}

// NetworkPolicyManagement says who sees to a template's network policy.
type NetworkPolicyManagement string

// The kinds of management.
const (
	NetworkPolicyManaged   NetworkPolicyManagement = "Managed"
	NetworkPolicyUnmanaged NetworkPolicyManagement = "Unmanaged"
)

// InjectionPolicy says what a claim may change of a template.
type InjectionPolicy string

// The injection policies.
const (
	InjectionDisallowed InjectionPolicy = "Disallowed" // nothing
	InjectionAllowed    InjectionPolicy = "Allowed"    // it may add
	InjectionOverrides  InjectionPolicy = "Overrides"  // it may add and replace
)

// SandboxWarmPool keeps sandboxes ready that claims take.
type SandboxWarmPool struct {
	metav1.TypeMeta `json:",inline"`
	// metadata: name, namespace, labels and annotations.
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is wanted.
	Spec   SandboxWarmPoolSpec `json:"spec"`
	Status json.RawMessage     `json:"status,omitempty"`
}

// SandboxWarmPoolSpec is agent-sandbox's.
type SandboxWarmPoolSpec struct {
	// replicas is how many unclaimed sandboxes there shall be.
	Replicas *int32 `json:"replicas,omitempty"`
	// sandboxTemplateRef names the template that they are made from.
	TemplateRef SandboxTemplateRef `json:"sandboxTemplateRef"`
	// updateStrategy says what becomes of unclaimed sandboxes when the template changes.
	UpdateStrategy *SandboxWarmPoolUpdateStrategy `json:"updateStrategy,omitempty"`
}

// SandboxTemplateRef names a template of the same namespace.
type SandboxTemplateRef struct {
	// name of the SandboxTemplate.
	Name string `json:"name"`
}

// SandboxWarmPoolUpdateStrategy says how a pool follows its template.
type SandboxWarmPoolUpdateStrategy struct {
	// type is OnReplenish (those that there are stay until they are claimed) or Recreate (they are replaced at once).
	Type WarmPoolUpdateStrategy `json:"type,omitempty"`
}

// WarmPoolUpdateStrategy names a way of following the template.
type WarmPoolUpdateStrategy string

// The update strategies.
const (
	WarmPoolRecreate    WarmPoolUpdateStrategy = "Recreate"
	WarmPoolOnReplenish WarmPoolUpdateStrategy = "OnReplenish"
)

// SandboxWarmPoolStatus is what is true of a pool now; its fields are
// agent-sandbox's, but for the conditions.
type SandboxWarmPoolStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	// replicas are the unclaimed sandboxes, readyReplicas those that can be claimed.
	Replicas      int32 `json:"replicas"`
	ReadyReplicas int32 `json:"readyReplicas"`
	// selector finds them by their labels.
	Selector string  `json:"selector,omitempty"`
	Source   *Source `json:"source,omitempty"`
}

// SandboxClaim asks for one sandbox, from a pool if it has one that is ready.
type SandboxClaim struct {
	metav1.TypeMeta `json:",inline"`
	// metadata: name, namespace, labels and annotations.
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is wanted.
	Spec   SandboxClaimSpec `json:"spec"`
	Status json.RawMessage  `json:"status,omitempty"`
}

// SandboxClaimSpec is agent-sandbox's.
type SandboxClaimSpec struct {
	// warmPoolRef names the pool to take a sandbox of, or whose template one is made from.
	WarmPoolRef SandboxWarmPoolRef `json:"warmPoolRef"`
	// lifecycle says when the claim ends.
	Lifecycle *SandboxClaimLifecycle `json:"lifecycle,omitempty"`
	// additionalPodMetadata is added to the metadata of the sandbox's podTemplate.
	AdditionalPodMetadata PodMetadata `json:"additionalPodMetadata,omitzero"`
	// env are further variables; with any, the sandbox is made anew and none is taken.
	Env []SandboxClaimEnv `json:"env,omitempty"`
	// volumeClaimTemplates are further claims; with any, the sandbox is made anew and none is taken.
	VolumeClaimTemplates []PersistentVolumeClaimTemplate `json:"volumeClaimTemplates,omitempty"`
}

// SandboxWarmPoolRef names a pool of the same namespace.
type SandboxWarmPoolRef struct {
	// name of the SandboxWarmPool.
	Name string `json:"name"`
}

// SandboxClaimLifecycle says when a claim ends.
type SandboxClaimLifecycle struct {
	// shutdownTime is when the claim expires: its sandbox is then removed.
	ShutdownTime *metav1.Time `json:"shutdownTime,omitempty"`
	// ttlSecondsAfterFinished is how long after its sandbox ran to completion the claim expires.
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
	// shutdownPolicy is Retain, Delete or DeleteForeground: as a claim's manifest stays, so does an expired claim.
	ShutdownPolicy ClaimShutdownPolicy `json:"shutdownPolicy,omitempty"`
}

// ClaimShutdownPolicy says what becomes of an expired claim.
type ClaimShutdownPolicy string

// The shutdown policies of claims.
const (
	ClaimShutdownRetain           ClaimShutdownPolicy = "Retain"
	ClaimShutdownDelete           ClaimShutdownPolicy = "Delete"
	ClaimShutdownDeleteForeground ClaimShutdownPolicy = "DeleteForeground"
)

// SandboxClaimEnv is one variable that a claim sets.
type SandboxClaimEnv struct {
	// name of the variable.
	Name string `json:"name"`
	// value of the variable.
	Value string `json:"value"`
	// containerName is the container that gets it. Default: the first one.
	ContainerName string `json:"containerName,omitempty"`
}

// SandboxClaimStatus is what is true of a claim now; its fields are
// agent-sandbox's.
type SandboxClaimStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	Sandbox            ClaimedSandbox     `json:"sandbox,omitzero"`
	Source             *Source            `json:"source,omitempty"`
}

// ClaimedSandbox is the sandbox that a claim has.
type ClaimedSandbox struct {
	Name   string   `json:"name,omitempty"`
	PodIPs []string `json:"podIPs,omitempty"`
}
