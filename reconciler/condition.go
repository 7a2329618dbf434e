package reconciler

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of conditions. Those of Ready and Suspended are agent-sandbox's where
// it has one.
const (
	ReasonSynced                   = "Synced"
	ReasonProgressing              = "Progressing"
	ReasonInvalidManifest          = "InvalidManifest"
	ReasonDuplicateName            = "DuplicateName"
	ReasonPruneHeld                = "PruneHeld"
	ReasonPruneDisabled            = "PruneDisabled"
	ReasonSuspended                = "Suspended"
	ReasonReferenceMissing         = "ReferenceMissing"
	ReasonRecordUnreadable         = "RecordUnreadable"
	ReasonDiskError                = "DiskError"
	ReasonDiskLost                 = "DiskLost"
	ReasonVolumeLost               = "VolumeLost"
	ReasonFileMissing              = "FileMissing"
	ReasonImmutableField           = "ImmutableField"
	ReasonOwnerMissing             = "OwnerMissing"
	ReasonImagesPresent            = "ImagesPresent"
	ReasonPulling                  = "Pulling"
	ReasonImageFailed              = "ImageFailed"
	ReasonAgentUp                  = "AgentUp"
	ReasonBooting                  = "Booting"
	ReasonNetworkAttached          = "Attached"
	ReasonNetworkDown              = "NetworkDown"
	ReasonNotConnected             = "NotConnected"
	ReasonHostPortUnavailable      = "HostPortUnavailable"
	ReasonNotBooted                = "NotBooted"
	ReasonBootFailed               = "BootFailed"
	ReasonVMLost                   = "VirtualMachineLost"
	ReasonWaitingForTurn           = "WaitingForTurn"
	ReasonHostNotReady             = "HostNotReady"
	ReasonStopFailed               = "StopFailed"
	ReasonDependenciesReady        = "DependenciesReady"
	ReasonDependenciesNot          = "DependenciesNotReady"
	ReasonContainersNotReady       = "ContainersNotReady"
	ReasonWaitingForDependencies   = "WaitingForDependencies"
	ReasonProgressDeadlineExceeded = "ProgressDeadlineExceeded"
	ReasonUnhealthy                = "Unhealthy"
	ReasonKilling                  = "Killing"
	ReasonSandboxSuspended         = "SandboxSuspended"
	ReasonSandboxPaused            = "SandboxPaused"
	ReasonSandboxStopped           = "SandboxStopped"
	ReasonSandboxExpired           = "SandboxExpired"
	ReasonDeleting                 = "Deleting"
	ReasonNotSuspended             = "NotSuspended"
	ReasonPodTerminated            = "PodTerminated"
	ReasonPodTerminating           = "PodTerminating"
	ReasonPodSucceeded             = "PodSucceeded"
	ReasonPodFailed                = "PodFailed"
)

// maxConditionMessage is what apimachinery's validation allows.
const maxConditionMessage = 32 << 10

// conditionSet builds a status's conditions from those it had before: a
// condition whose status stays keeps its transition time, one that is not set
// goes away.
type conditionSet struct {
	old        []metav1.Condition
	now        time.Time
	generation int64
	conditions []metav1.Condition
}

func (s *conditionSet) set(typ string, status metav1.ConditionStatus, reason, message string) {
	c := metav1.Condition{
		Type: typ, Status: status, Reason: reason, Message: message,
		ObservedGeneration: s.generation, LastTransitionTime: metav1.NewTime(s.now.Truncate(time.Second)),
	}
	if len(message) > maxConditionMessage {
		c.Message = message[:maxConditionMessage]
	}
	if was := meta.FindStatusCondition(s.old, typ); was != nil && was.Status == status {
		c.LastTransitionTime = was.LastTransitionTime
	}
	s.conditions = append(s.conditions, c)
}

func (s *conditionSet) setBool(typ string, yes bool, reason, message string) {
	status := metav1.ConditionFalse
	if yes {
		status = metav1.ConditionTrue
	}
	s.set(typ, status, reason, message)
}
