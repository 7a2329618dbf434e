package reconciler

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Reasons in container statuses: the kubelet's where it has one.
const (
	reasonCompleted    = "Completed"
	reasonError        = "Error"
	reasonOOMKilled    = "OOMKilled"
	reasonStartError   = "StartError"
	reasonInitializing = "PodInitializing"
	reasonCreating     = "ContainerCreating"
	reasonCrashLoop    = "CrashLoopBackOff"
	reasonVMLost       = "VirtualMachineLost"
	startErrorCode     = 128
	killedCode         = 137
	codeUnknown        = 255 // of a process whose VM died
	maxContainerText   = 1024
	reasonStoppedByUs  = "Stopped"
)

// container is what is remembered of one container across its runs.
type container struct {
	status  corev1.ContainerStatus
	backoff backoff
	// started is when the run began whose end would make the next one a restart.
	started time.Time
	// coarse says that started comes from disk and knows seconds only.
	coarse bool
	// done says that it has exited and is not to be started again.
	done bool
	// init says that it is an init container, which runs to completion.
	init bool
	// probes are those of its spec, health is what they have found of this run.
	probes probes
	health health
}

// containers are those of a sandbox: too few for a map.
type containers []*container

// get returns the container of a name, nil if there is none.
func (cs containers) get(name string) *container {
	for _, c := range cs {
		if c.status.Name == name {
			return c
		}
	}
	return nil
}

func newContainer(spec corev1.Container) *container {
	return &container{status: corev1.ContainerStatus{
		Name: spec.Name, Image: spec.Image,
		State: waiting(reasonCreating, ""),
	}}
}

// restoreContainer goes on from a status kept on disk. ended says whether the
// sandbox had been ended on request.
func restoreContainer(status corev1.ContainerStatus, policy corev1.RestartPolicy, ended bool) *container {
	c := &container{status: status, coarse: true}
	switch {
	case status.State.Running != nil:
		c.started = status.State.Running.StartedAt.Time
		// What an earlier daemon has found stands until it is found anew.
		c.health = health{started: status.Started == nil || *status.Started, ready: status.Ready}
	case status.State.Terminated != nil:
		c.done = !ended && !restarts(policy, status.State.Terminated.ExitCode != 0)
	case status.LastTerminationState.Terminated != nil:
		c.started = status.LastTerminationState.Terminated.StartedAt.Time
	}
	return c
}

// observe takes in what the runtime says of the init process. It reports
// whether that is a run after an earlier one, and whether it is news that the
// process has exited.
func (c *container) observe(p drivers.ProcessStatus, policy corev1.RestartPolicy, now time.Time) (restarted, exited bool) {
	if !p.StartedAt.IsZero() && !c.sameRun(p.StartedAt) {
		restarted = !c.started.IsZero()
		if restarted {
			c.status.RestartCount++
		}
		c.done = false
		c.health = c.probes.fresh()
		c.setRunning(p)
	}
	if !p.StartedAt.IsZero() {
		c.started, c.coarse = p.StartedAt, false
	}
	switch p.State {
	case drivers.ProcessRunning:
		c.setRunning(p)
	case drivers.ProcessExited:
		if p.Exit != nil && c.status.State.Running != nil {
			c.ended(terminated(p), policy, now)
			exited = true
		}
	case drivers.ProcessCreated:
	}
	return restarted, exited
}

func (c *container) sameRun(start time.Time) bool {
	if c.coarse {
		return start.Truncate(time.Second).Equal(c.started.Truncate(time.Second))
	}
	return start.Equal(c.started)
}

func (c *container) setRunning(p drivers.ProcessStatus) {
	c.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(p.StartedAt)}}
	c.showHealth()
}

func (c *container) setNotRunning(s corev1.ContainerState) {
	no := false
	c.health = health{}
	c.status.State = s
	c.status.Ready, c.status.Started = false, &no
}

// ended decides on what follows the end of a run.
func (c *container) ended(t corev1.ContainerStateTerminated, policy corev1.RestartPolicy, now time.Time) {
	unhealthy := c.health.failed
	if unhealthy != nil {
		t.Message = clip(unhealthy.message)
	}
	if !restarts(policy, t.ExitCode != 0 || unhealthy != nil) {
		c.done = true
		c.setNotRunning(corev1.ContainerState{Terminated: &t})
		c.status.Ready = c.init && t.ExitCode == 0
		return
	}
	delay := c.backoff.ended(now, t.FinishedAt.Sub(t.StartedAt.Time))
	c.status.LastTerminationState = corev1.ContainerState{Terminated: &t}
	c.setNotRunning(waiting(reasonCrashLoop, fmt.Sprintf("exited with code %d; back-off %s before it is started again", t.ExitCode, delay)))
}

// startFailed notes that the init process could not be started.
func (c *container) startFailed(err error, policy corev1.RestartPolicy, now time.Time) {
	if !c.started.IsZero() {
		c.status.RestartCount++
	}
	c.started = now
	c.ended(corev1.ContainerStateTerminated{
		ExitCode: startErrorCode, Reason: reasonStartError, Message: clip(err.Error()),
		StartedAt: metav1.NewTime(now), FinishedAt: metav1.NewTime(now),
	}, policy, now)
}

// lost notes that the VM went away under the container. The wait before the
// next attempt is the VM's, not the container's.
func (c *container) lost(message string, policy corev1.RestartPolicy, now time.Time) {
	run := c.status.State.Running
	c.forgetCompletion(reasonInitializing)
	if run == nil {
		if !c.done {
			c.backoff.until = time.Time{}
		}
		return
	}
	t := corev1.ContainerStateTerminated{
		ExitCode: killedCode, Reason: reasonVMLost, Message: clip(message),
		StartedAt: run.StartedAt, FinishedAt: metav1.NewTime(now),
	}
	if !restarts(policy, true) {
		c.done = true
		c.setNotRunning(corev1.ContainerState{Terminated: &t})
		return
	}
	c.status.LastTerminationState = corev1.ContainerState{Terminated: &t}
	c.setNotRunning(waiting(reasonVMLost, clip(message)))
}

// stopped notes that the sandbox was ended on request: the next run is no
// restart.
func (c *container) stopped(p drivers.ProcessStatus, now time.Time) {
	run := c.status.State.Running
	c.forgetCompletion(reasonStoppedByUs)
	switch {
	case run != nil && p.Exit != nil:
		t := terminated(p)
		c.setNotRunning(corev1.ContainerState{Terminated: &t})
	case run != nil:
		c.setNotRunning(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: killedCode, Reason: reasonStoppedByUs, StartedAt: run.StartedAt, FinishedAt: metav1.NewTime(now),
		}})
	case c.status.State.Waiting != nil:
		c.setNotRunning(waiting(reasonStoppedByUs, ""))
	}
	c.started, c.done = time.Time{}, false
	c.backoff.reset()
}

func terminated(p drivers.ProcessStatus) corev1.ContainerStateTerminated {
	t := corev1.ContainerStateTerminated{
		ExitCode: int32(p.Exit.Code), Signal: int32(p.Exit.Signal), Reason: reasonCompleted, //nolint:gosec // an exit code fits
		StartedAt: metav1.NewTime(p.StartedAt), FinishedAt: metav1.NewTime(p.Exit.FinishedAt),
	}
	switch {
	case p.Exit.OOMKilled:
		t.Reason = reasonOOMKilled
	case p.Exit.Code != 0:
		t.Reason = reasonError
	}
	return t
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// restarts reports whether a container that ended is to be started again.
func restarts(policy corev1.RestartPolicy, failed bool) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return failed
	default:
		return true
	}
}

// clip bounds a message that comes from elsewhere.
func clip(s string) string {
	if len(s) <= maxContainerText {
		return s
	}
	return s[:maxContainerText] + "…"
}
