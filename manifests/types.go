package manifests

import (
	"encoding/json"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kinds that an Object's Key may have. Whatever kind a VM was written as, its
// key has KindSandbox: a Pod and a Sandbox of one name are one key.
const (
	KindSandbox               = "Sandbox"
	KindSandboxTemplate       = "SandboxTemplate"
	KindConfigMap             = "ConfigMap"
	KindSecret                = "Secret"
	KindPersistentVolumeClaim = "PersistentVolumeClaim"
	KindNetwork               = "Network"

	// KindRuntimeClass belongs to no namespace: its key has DefaultNamespace.
	KindRuntimeClass = "RuntimeClass"

	KindJob         = "Job"
	KindCronJob     = "CronJob"
	KindStatefulSet = "StatefulSet"

	KindSandboxWarmPool = "SandboxWarmPool"
	KindSandboxClaim    = "SandboxClaim"
)

// APIVersion of our own kinds.
const APIVersion = "vzreconciler.dev/v1alpha1"

// Key names one object.
type Key struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns "Sandbox default/web".
func (k Key) String() string { return k.Kind + " " + k.Namespace + "/" + k.Name }

// Position is a place in a file; lines and columns count from 1.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Revision is the commit of a Git repository that manifests were read from.
type Revision struct {
	// Repository is its URL, without credentials.
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
	// Commit is its hash, in hexadecimal.
	Commit string `json:"commit"`
	// Author as "NAME <ADDRESS>".
	Author string `json:"author"`
	// Time is when it was committed.
	Time metav1.Time `json:"time"`
	// Signer is who signed it, if that was asked for.
	Signer string `json:"signer,omitempty"`
}

// Source is where a manifest came from.
type Source struct {
	Position  `json:",inline"`
	*Revision `json:",inline"`
}

// Object is one document of a manifest file, decoded, with defaults, valid.
type Object struct {
	Key      Key
	Position Position
	// Revision is what the file is of; nil for a file that is no commit's.
	Revision *Revision
	// APIVersion and Kind as written: "v1", "Pod".
	APIVersion string
	Kind       string
	// Manifest is the document as written, as JSON; of a Secret, with every value
	// of data and stringData empty.
	Manifest json.RawMessage
	// Encrypted says that the values of a Secret are as SOPS has encrypted them, for
	// want of a key.
	Encrypted bool
	// Warnings are fields accepted without effect, for people.
	Warnings []string
	// DependsOn are the places of the items of a sandbox's spec.dependsOn.
	DependsOn []Position

	// One of these is set, by Key.Kind.
	Sandbox   *Sandbox
	ConfigMap *corev1.ConfigMap
	Secret    *corev1.Secret
	Claim     *corev1.PersistentVolumeClaim
	Network   *Network

	RuntimeClass *nodev1.RuntimeClass

	Job         *batchv1.Job
	CronJob     *batchv1.CronJob
	StatefulSet *appsv1.StatefulSet

	SandboxTemplate *SandboxTemplate
	SandboxWarmPool *SandboxWarmPool
	SandboxClaim    *SandboxClaim
}

// Pointers returns pointers to the objects of a list.
func Pointers(objects []Object) []*Object {
	all := make([]*Object, len(objects))
	for i := range objects {
		all[i] = &objects[i]
	}
	return all
}

// Sandbox is one lightweight Linux VM and the containers in it: the internal
// form of our Sandbox, agent-sandbox's Sandbox and v1 Pod.
type Sandbox struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`
	Spec              SandboxSpec   `json:"spec"`
	Status            SandboxStatus `json:"status,omitzero"`
}

// SandboxSpec is a strict superset of the spec of agents.x-k8s.io/v1beta1
// Sandbox.
type SandboxSpec struct {
	// operatingMode is Running, Suspended (the VM is ended, the volumes stay) or
	// Paused (the VM's CPUs are stopped, its memory stays).
	OperatingMode OperatingMode `json:"operatingMode,omitempty"`
	// shutdownTime is when the sandbox expires.
	ShutdownTime *metav1.Time `json:"shutdownTime,omitempty"`
	// shutdownPolicy says what becomes of the object then: Retain or Delete.
	ShutdownPolicy *ShutdownPolicy `json:"shutdownPolicy,omitempty"`
	// service is agent-sandbox's; one host has no Services.
	Service *bool `json:"service,omitempty"`
	// volumeClaimTemplates are claims made for this sandbox: each is a volume of the
	// template's name, and the claim is named TEMPLATE-SANDBOX.
	VolumeClaimTemplates []PersistentVolumeClaimTemplate `json:"volumeClaimTemplates,omitempty"`
	// podTemplate describes the containers.
	PodTemplate PodTemplate `json:"podTemplate"`
	// vm is what a VM has and a Pod has not.
	VM VM `json:"vm,omitzero"`
	// networks the VM has an interface on, at most 4; the first is its way out. Without any it has no network. Of what is
	// written as a Pod, the annotation vzreconciler.dev/networks names them.
	Networks []NetworkAttachment `json:"networks,omitempty"`
	// sockets forwarded between host and guest.
	Sockets []Socket `json:"sockets,omitempty"`
	// dependsOn are sandboxes of the same namespace that must have got somewhere before this one starts.
	DependsOn []Dependency `json:"dependsOn,omitempty"`
	// progressDeadlineSeconds is how long the sandbox may take to get Ready before it is reported as Stalled; it is
	// tried on. Default: 600.
	ProgressDeadlineSeconds *int32 `json:"progressDeadlineSeconds,omitempty"`
}

// OperatingMode is the desired state of operation.
type OperatingMode string

// The operating modes.
const (
	OperatingModeRunning   OperatingMode = "Running"
	OperatingModeSuspended OperatingMode = "Suspended"
	OperatingModePaused    OperatingMode = "Paused"
)

// ShutdownPolicy says what becomes of an expired sandbox.
type ShutdownPolicy string

// The shutdown policies.
const (
	ShutdownPolicyDelete ShutdownPolicy = "Delete"
	ShutdownPolicyRetain ShutdownPolicy = "Retain"
)

// PodTemplate is a Pod's metadata and spec.
type PodTemplate struct {
	// metadata of the Pod: labels and annotations.
	ObjectMeta PodMetadata `json:"metadata,omitzero"`
	// spec is a Pod's: the fields that have a meaning here.
	Spec corev1.PodSpec `json:"spec"`
}

// PodMetadata is the part of a Pod's metadata that a template may set.
type PodMetadata struct {
	// labels of the Pod, for fieldRef; a Pod's own are those of its metadata.
	Labels map[string]string `json:"labels,omitempty"`
	// annotations of the Pod, for fieldRef.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// PersistentVolumeClaimTemplate is a claim made for a sandbox.
type PersistentVolumeClaimTemplate struct {
	// metadata of the claim; its name is the volume's, too.
	ObjectMeta EmbeddedObjectMetadata `json:"metadata,omitzero"`
	// spec is a PersistentVolumeClaim's.
	Spec corev1.PersistentVolumeClaimSpec `json:"spec"`
}

// EmbeddedObjectMetadata is the part of a claim's metadata that a template may
// set.
type EmbeddedObjectMetadata struct {
	// name of the volume, and the first part of the claim's.
	Name string `json:"name,omitempty"`
	// labels of the claim.
	Labels map[string]string `json:"labels,omitempty"`
	// annotations of the claim.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// VM is what a virtual machine has and a Pod has not.
type VM struct {
	// cpus of the VM. Default: the sum of the containers' limits, at least 1.
	CPUs int32 `json:"cpus,omitempty"`
	// memory of the VM. Default: the sum of the containers' limits and an
	// overhead, at least 256Mi.
	Memory *resource.Quantity `json:"memory,omitempty"`
	// disk is the size of the writable disk, which is sparse. Default: 8Gi.
	Disk *resource.Quantity `json:"disk,omitempty"`
	// kernel to boot.
	Kernel Kernel `json:"kernel,omitzero"`
	// nestedVirtualization lets the guest run VMs of its own.
	NestedVirtualization bool `json:"nestedVirtualization,omitempty"`
	// rosetta would run amd64 programs on Apple silicon, which is not there yet: Auto or
	// Disabled.
	Rosetta string `json:"rosetta,omitempty"`
	// runtimeData is passed to the runtime plugin as it is.
	RuntimeData json.RawMessage `json:"runtimeData,omitempty"`
}

// Kernel names an installed kernel and arguments for it.
type Kernel struct {
	// name of an installed kernel. Default: "default".
	Name string `json:"name,omitempty"`
	// args are added to the kernel's command line, one word each.
	Args []string `json:"args,omitempty"`
}

// Socket forwards a Unix socket between host and guest.
type Socket struct {
	HostPath      string `json:"hostPath"`
	ContainerPath string `json:"containerPath"`
	Direction     string `json:"direction,omitempty"`
}

// Dependency is where another sandbox must have got.
type Dependency struct {
	// kind of the other object: Sandbox or Pod. Default: Sandbox.
	Kind string `json:"kind,omitempty"`
	// name of the other object.
	Name string `json:"name"`
	// condition is Started (its containers have started), Ready, or Completed (it ran to its end, with success).
	// Default: Ready.
	Condition DependencyCondition `json:"condition,omitempty"`
}

// DependencyCondition is a point on another sandbox's way.
type DependencyCondition string

// The conditions of a dependency.
const (
	DependencyStarted   DependencyCondition = "Started"
	DependencyReady     DependencyCondition = "Ready"
	DependencyCompleted DependencyCondition = "Completed"
)

// Phase sums a sandbox's state up in one word.
type Phase string

// The phases.
const (
	PhasePending   Phase = "Pending"   // nothing runs yet: waiting for an image, a kernel, a turn
	PhaseStarting  Phase = "Starting"  // the VM boots
	PhaseRunning   Phase = "Running"   // the containers run
	PhasePaused    Phase = "Paused"    // the VM's CPUs are stopped
	PhaseStopping  Phase = "Stopping"  // on its way down
	PhaseStopped   Phase = "Stopped"   // down, as desired
	PhaseSucceeded Phase = "Succeeded" // every container exited with 0 and is not to be restarted
	PhaseFailed    Phase = "Failed"    // a container failed and is not to be restarted
)

// Condition types of a sandbox. Ready, Suspended and Finished mean what
// agent-sandbox means by them, Reconciling and Stalled what kstatus does.
const (
	ConditionSynced      = "Synced"      // what runs is what the manifest on disk says
	ConditionImageReady  = "ImageReady"  // every image is on this host
	ConditionBooted      = "Booted"      // the VM's agent answered
	ConditionReady       = "Ready"       // every container runs (and is ready)
	ConditionSuspended   = "Suspended"   // ended because operatingMode says so
	ConditionFinished    = "Finished"    // ran to completion
	ConditionReconciling = "Reconciling" // on the way to what the manifest says
	ConditionStalled     = "Stalled"     // cannot get further without help

	ConditionNetworkAttached = "NetworkAttached" // its networks carry its frames, and its ports of the host are there
)

// SandboxStatus is what is true of a sandbox now.
type SandboxStatus struct {
	// observedGeneration is the newest generation that is applied, or that cannot be, as Stalled then says.
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Phase              Phase              `json:"phase,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	// containerStatuses are as a Pod's.
	ContainerStatuses []corev1.ContainerStatus `json:"containerStatuses,omitempty"`
	// initContainerStatuses are the Pod's too: one that has run to completion is ready.
	InitContainerStatuses []corev1.ContainerStatus `json:"initContainerStatuses,omitempty"`
	PodIPs                []string                 `json:"podIPs,omitempty"`
	// networks that the sandbox has an address on.
	Networks []NetworkStatus `json:"networks,omitempty"`
	// startTime is when the VM that runs now was started.
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// lastApplied is the last change that was applied.
	LastApplied *AppliedChange `json:"lastApplied,omitempty"`
	// source is where the manifest came from: file and line, and of one from Git
	// the commit that it was last read from.
	Source *Source `json:"source,omitempty"`
	// runtime is what the VM runs on.
	Runtime *RuntimeStatus `json:"runtime,omitempty"`
}

// AppliedChange is a change of the spec that was brought about.
type AppliedChange struct {
	// generation that is now applied.
	Generation int64 `json:"generation"`
	// time at which it was.
	Time metav1.Time `json:"time"`
	// class is what it cost: "live", "recreate" and so on; empty for the first one.
	Class string `json:"class,omitempty"`
	// fields that were changed; of many, the first.
	Fields []string `json:"fields,omitempty"`
}

// RuntimeStatus tells what a sandbox runs on.
type RuntimeStatus struct {
	Name string `json:"name"`
	// pluginPID and hypervisorPID are process ids on the host.
	PluginPID     int    `json:"pluginPID,omitempty"`
	HypervisorPID int    `json:"hypervisorPID,omitempty"`
	Hypervisor    string `json:"hypervisor,omitempty"`
	Machine       string `json:"machine,omitempty"`
	Accelerator   string `json:"accelerator,omitempty"`
	// acceleratorReason says why it is not the hardware's.
	AcceleratorReason string `json:"acceleratorReason,omitempty"`
	KernelVersion     string `json:"kernelVersion,omitempty"`
	BootID            string `json:"bootID,omitempty"`
	// stages are the times at which the VM passed each stage of its start.
	Stages []Stage `json:"stages,omitempty"`
}

// Stage is a point passed on the way up.
type Stage struct {
	Name string           `json:"name"`
	Time metav1.MicroTime `json:"time"`
}
