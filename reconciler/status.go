package reconciler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// Stages of a start that come before the runtime's own.
const (
	stageSeen       = "seen"       // the manifest, or the loss of the VM, was seen
	stagePlanned    = "planned"    // the first step was begun
	stageImageReady = "imageReady" // all images were here
	stagePluginUp   = "pluginUp"   // the plugin process answered
)

func ownStage(name string) bool {
	switch name {
	case stageSeen, stagePlanned, stageImageReady, stagePluginUp:
		return true
	}
	return false
}

func microTime(t time.Time) metav1.MicroTime { return metav1.NewMicroTime(t) }

// facts is all that a status is made from.
type facts struct {
	now        time.Time
	generation int64
	desired    Desired
	attach     Attachment
	snapshot   drivers.Snapshot
	vmUp       bool
	survivor   bool   // the VM runs on without its plugin process
	images     bool   // every image is here
	lost       string // why the VM that was there is not any more
	lostReason string
	paused     string // who wants it paused
	outcome    *Outcome
	problem    *problem
	missing    []string
	waiting    []string // the objects that come first
	action     *Action  // under way
	note       string
	failedVerb Verb
	failure    *failure
	containers []corev1.ContainerStatus
	inits      []corev1.ContainerStatus // of the init containers
	unready    map[string]string        // why a container that runs is not ready
	network    *networkFact             // nil for a sandbox on none
	// deadline is when the sandbox should be Ready, deadlineAfter the time it had;
	// zero when nothing is under way.
	deadline      time.Time
	deadlineAfter time.Duration
	old           []metav1.Condition
}

// phase sums the facts up in one word.
func (f *facts) phase() manifests.Phase {
	switch {
	case f.desired.Goal == GoalDelete:
		return manifests.PhaseStopping
	case f.outcome != nil:
		return f.outcome.Phase
	case f.ending():
		if f.attach == AttachNone {
			return manifests.PhaseStopped
		}
		return manifests.PhaseStopping
	case f.survivor && f.vmUp:
		return manifests.PhaseRunning
	case f.doing(ActStop, ActShutdown, ActCleanUp) && f.desired.Rebuild != RebuildNone:
		return manifests.PhaseStopping
	case f.doing(ActLaunch) && f.note == "", f.doing(ActBootstrap) && f.note == "":
		return manifests.PhaseStarting
	case f.attach != AttachUp:
		return manifests.PhasePending
	}
	switch f.snapshot.State {
	case drivers.StateBooted:
		return manifests.PhaseStarting
	case drivers.StateRunning:
		if f.initialising() {
			return manifests.PhaseStarting
		}
		return manifests.PhaseRunning
	case drivers.StatePaused:
		return manifests.PhasePaused
	case drivers.StateStopping:
		return manifests.PhaseStopping
	default:
		return manifests.PhasePending
	}
}

// initialising reports a sandbox whose init containers have not all completed.
func (f *facts) initialising() bool {
	return slices.ContainsFunc(f.inits, func(cs corev1.ContainerStatus) bool { return !cs.Ready })
}

// ending reports a sandbox that is meant to have no VM.
func (f *facts) ending() bool {
	return f.desired.Goal == GoalStop || f.desired.Goal == GoalSuspend || f.desired.Goal == GoalExpire
}

// updating reports a VM that runs with something of an older manifest.
func (f *facts) updating() bool { return f.desired.Update && f.vmUp && f.outcome == nil }

// outdated reports a sandbox that is still as an earlier manifest said, and is not
// to stay so. One that has ended, or is to, is made anew when it starts again.
func (f *facts) outdated() bool {
	return f.desired.Rebuild != RebuildNone && !f.ending() && f.outcome == nil
}

func (f *facts) doing(verbs ...Verb) bool {
	for _, v := range verbs {
		if f.action != nil && f.action.Verb == v {
			return true
		}
	}
	return false
}

func (f *facts) failed(verbs ...Verb) bool {
	for _, v := range verbs {
		if f.failure != nil && f.failedVerb == v {
			return true
		}
	}
	return false
}

// status is what is true now. It is pure.
func (f *facts) status() manifests.SandboxStatus {
	s := manifests.SandboxStatus{
		ObservedGeneration: f.generation,
		Phase:              f.phase(),
		ContainerStatuses:  f.containers,

		InitContainerStatuses: f.inits,
	}
	c := &conditionSet{old: f.old, now: f.now, generation: f.generation}
	f.synced(c)
	f.imageReady(c)
	f.booted(c)
	f.networkAttached(c)
	ready := f.ready(c)
	f.suspended(c)
	f.finished(c)
	f.progress(c, ready, s.Phase)
	s.Conditions = c.conditions
	return s
}

func (f *facts) synced(c *conditionSet) {
	switch {
	case f.problem != nil && f.problem.Reason == source.ReasonSourceUnreachable:
		c.set(manifests.ConditionSynced, metav1.ConditionUnknown, f.problem.Reason, f.problem.Message)
	case f.problem != nil:
		c.setBool(manifests.ConditionSynced, false, f.problem.Reason, f.problem.Message)
	case len(f.missing) > 0:
		c.setBool(manifests.ConditionSynced, false, ReasonReferenceMissing, "missing: "+strings.Join(f.missing, ", "))
	case f.desired.Goal == GoalDelete:
		c.setBool(manifests.ConditionSynced, false, ReasonDeleting, "the sandbox is being removed")
	case f.outdated():
		c.setBool(manifests.ConditionSynced, false, ReasonProgressing, "the sandbox is still as an earlier manifest said")
	case f.updating():
		c.setBool(manifests.ConditionSynced, false, ReasonProgressing, f.obstacle("a change is to be applied to what runs"))
	default:
		c.setBool(manifests.ConditionSynced, true, ReasonSynced, "")
	}
}

func (f *facts) imageReady(c *conditionSet) {
	switch {
	case f.images:
		c.setBool(manifests.ConditionImageReady, true, ReasonImagesPresent, "")
	case f.failed(ActPrepare) && f.failure.image:
		c.setBool(manifests.ConditionImageReady, false, ReasonImageFailed, f.retryMessage())
	case f.doing(ActPrepare):
		c.setBool(manifests.ConditionImageReady, false, ReasonPulling, f.note)
	}
}

func (f *facts) booted(c *conditionSet) {
	switch f.snapshot.State {
	case drivers.StateBooted, drivers.StateRunning, drivers.StatePaused:
		c.setBool(manifests.ConditionBooted, true, ReasonAgentUp, "")
		return
	default:
	}
	switch {
	case f.survivor && f.vmUp:
		c.setBool(manifests.ConditionBooted, true, ReasonAgentUp, "")
	case f.note == noteTurn:
		c.setBool(manifests.ConditionBooted, false, ReasonWaitingForTurn, f.note)
	case len(f.waiting) > 0 && f.desired.Goal.up() && f.failure == nil:
		c.setBool(manifests.ConditionBooted, false, ReasonWaitingForDependencies, f.obstacle(""))
	case f.doing(ActLaunch, ActBootstrap):
		c.setBool(manifests.ConditionBooted, false, ReasonBooting, "")
	case f.failed(ActLaunch, ActBootstrap) || f.failed(ActPrepare) && !f.failure.image:
		reason := ReasonBootFailed
		if hostLacks(f.failure.err) {
			reason = ReasonHostNotReady
		}
		c.setBool(manifests.ConditionBooted, false, reason, f.retryMessage())
	case f.lost != "" && f.desired.Goal.up() && f.outcome == nil:
		c.setBool(manifests.ConditionBooted, false, f.lostReason, f.lost)
	default:
		c.setBool(manifests.ConditionBooted, false, ReasonNotBooted, "")
	}
}

// networkAttached is there while there is a VM with a network.
func (f *facts) networkAttached(c *conditionSet) {
	if n := f.network; n != nil && f.vmUp {
		c.setBool(manifests.ConditionNetworkAttached, n.reason == ReasonNetworkAttached, n.reason, n.message)
	}
}

// ready sets Ready, whose reasons are agent-sandbox's where it has one.
func (f *facts) ready(c *conditionSet) bool {
	no := func(reason, message string) bool {
		c.setBool(manifests.ConditionReady, false, reason, message)
		return false
	}
	switch {
	case f.desired.Goal == GoalDelete:
		return no(ReasonDeleting, f.obstacle(""))
	case f.desired.Goal == GoalExpire:
		return no(ReasonSandboxExpired, "Sandbox has expired")
	case f.desired.Goal == GoalSuspend:
		return no(ReasonSandboxSuspended, "operatingMode is Suspended")
	case f.desired.Goal == GoalStop:
		return no(ReasonSandboxStopped, `stopped by a user; "vzctl start" lets it run again`)
	case f.outcome != nil && f.outcome.Phase == manifests.PhaseFailed:
		return no(ReasonPodFailed, f.outcome.Message)
	case f.outcome != nil:
		return no(ReasonPodSucceeded, "every container has exited with 0")
	case f.desired.Rebuild != RebuildNone:
		return no(ReasonDependenciesNot, f.obstacle("the sandbox is still as an earlier manifest said"))
	case f.snapshot.State == drivers.StatePaused:
		return no(ReasonSandboxPaused, f.paused)
	}
	reason, message := f.containersMissing()
	switch {
	case len(f.waiting) > 0 && f.attach == AttachNone && f.failure == nil && f.action == nil:
		return no(ReasonWaitingForDependencies, f.obstacle(""))
	case f.survivor && f.vmUp:
		return no(ReasonDependenciesNot, f.obstacle("the plugin process ended; a new one is taking the virtual machine over"))
	case f.snapshot.State != drivers.StateRunning && f.snapshot.State != drivers.StateBooted,
		f.snapshot.State == drivers.StateBooted && message == "":
		return no(ReasonDependenciesNot, f.obstacle("the sandbox is not running yet"))
	case message != "":
		return no(reason, message)
	}
	c.setBool(manifests.ConditionReady, true, ReasonDependenciesReady, "")
	return true
}

// containersMissing says which container does not run or is not ready, and why,
// with the reason of the condition; it is empty when all are.
func (f *facts) containersMissing() (reason, message string) {
	for _, cs := range f.inits {
		if cs.Ready {
			continue
		}
		message := "init container " + cs.Name + " has not completed"
		if w := cs.State.Waiting; w != nil && w.Message != "" {
			message += ": " + w.Message
		}
		return ReasonDependenciesNot, message
	}
	unready := ""
	for _, cs := range f.containers {
		if cs.Ready {
			continue
		}
		if cs.State.Running != nil {
			if unready == "" {
				unready = "container " + cs.Name + " is not ready: " + f.unready[cs.Name]
			}
			continue
		}
		message := "container " + cs.Name + " is not running"
		if w := cs.State.Waiting; w != nil && w.Message != "" {
			message += ": " + w.Message
		} else if t := cs.State.Terminated; t != nil {
			message += fmt.Sprintf(": exited with code %d", t.ExitCode)
		}
		return ReasonDependenciesNot, message
	}
	return ReasonContainersNotReady, unready
}

// obstacle says what stands in the way, for people.
func (f *facts) obstacle(fallback string) string {
	switch {
	case f.failure != nil:
		return f.retryMessage()
	case len(f.missing) > 0:
		return "missing: " + strings.Join(f.missing, ", ")
	case len(f.waiting) > 0 && f.action == nil:
		return "waits for " + strings.Join(f.waiting, ", ")
	case f.note != "":
		return f.note
	case f.problem != nil && !f.problem.chosen() && f.attach != AttachUp:
		return f.problem.Message
	case f.lost != "":
		return f.lost
	}
	return fallback
}

// retryMessage is about the last failure. It names a time, not a duration, so
// that it stays as it is while nothing happens, and none at all where it would
// change every few seconds.
func (f *facts) retryMessage() string {
	m := f.failure.err.Error()
	if hostLacks(f.failure.err) {
		return m + "; looked for again every " + hostDelay.String()
	}
	if f.failure.backoff.until.After(f.now) {
		m += "; tried again at " + f.failure.backoff.until.Local().Format(time.TimeOnly)
	}
	return m
}

func (f *facts) suspended(c *conditionSet) {
	switch {
	case f.desired.Goal != GoalSuspend:
		c.setBool(manifests.ConditionSuspended, false, ReasonNotSuspended, "")
	case f.attach == AttachNone:
		c.setBool(manifests.ConditionSuspended, true, ReasonPodTerminated, "")
	default:
		c.setBool(manifests.ConditionSuspended, false, ReasonPodTerminating, "the virtual machine is being ended")
	}
}

func (f *facts) finished(c *conditionSet) {
	switch {
	case f.outcome == nil:
	case f.outcome.Phase == manifests.PhaseFailed:
		c.setBool(manifests.ConditionFinished, true, ReasonPodFailed, f.outcome.Message)
	default:
		c.setBool(manifests.ConditionFinished, true, ReasonPodSucceeded, "")
	}
}

// progress sets Reconciling and Stalled, which are there only when true.
func (f *facts) progress(c *conditionSet, ready bool, phase manifests.Phase) {
	switch {
	case f.failure != nil && f.failure.permanent:
		reason := string(f.failedVerb) + "Failed"
		if hostLacks(f.failure.err) {
			reason = ReasonHostNotReady
		}
		c.setBool(manifests.ConditionStalled, true, reason, f.retryMessage())
		return
	case f.desired.Goal == GoalHold && f.problem != nil:
		c.setBool(manifests.ConditionStalled, true, f.problem.Reason, f.problem.Message)
		return
	}
	settled := ready || f.outcome != nil && f.attach == AttachNone ||
		phase == manifests.PhaseStopped || phase == manifests.PhasePaused && f.desired.Goal == GoalPause
	if settled && !f.outdated() && (!f.updating() || phase == manifests.PhasePaused) {
		if phase == manifests.PhaseFailed {
			c.setBool(manifests.ConditionStalled, true, ReasonPodFailed, f.outcome.Message)
		}
		return
	}
	reason := ReasonProgressing
	message := f.obstacle("")
	if message == "" {
		_, message = f.containersMissing()
	}
	if !f.deadline.IsZero() && !f.now.Before(f.deadline) {
		c.setBool(manifests.ConditionStalled, true, ReasonProgressDeadlineExceeded,
			strings.TrimSuffix(fmt.Sprintf("not Ready within %s, tried on: %s", f.deadlineAfter, message), ": "))
		return
	}
	if len(f.waiting) > 0 {
		reason = ReasonWaitingForDependencies
	}
	if f.action != nil {
		reason = string(f.action.Verb)
		if f.note != "" {
			message = f.note
		}
	}
	c.setBool(manifests.ConditionReconciling, true, reason, message)
}
