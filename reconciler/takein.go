package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
)

// takeIn draws the consequences of what the plugin process said last, or of its
// end: which containers run, which have exited, whether the VM was lost, whether
// the sandbox has run to its end.
func (m *Manager) takeIn(o *object, now time.Time) error {
	o.syncContainers()
	var err error
	switch o.attach {
	case AttachUp:
		m.takeInSnapshot(o, now)
		err = m.keepHypervisor(o)
	case AttachLost, AttachNone:
		if !o.survivor() {
			m.takeInLoss(o, o.lostWhy, now)
		}
	case AttachUnknown:
	}
	return errors.Join(err, m.takeInOutcome(o, now))
}

func (m *Manager) takeInSnapshot(o *object, now time.Time) {
	state := o.snapshot.State
	if o.ending && o.op == nil && (state == drivers.StateBooted || state == drivers.StateRunning || state == drivers.StatePaused) {
		o.ending = false // It was to end, and did not.
	}
	policy := o.spec().PodTemplate.Spec.RestartPolicy
	lost := state == drivers.StateStopped && !o.ending
	for _, p := range o.snapshot.Processes {
		c := o.containers.get(p.ID)
		if c == nil || o.ending {
			continue // a further process, or one that was told to end
		}
		if lost && p.Exit != nil && (p.Exit.Signal != 0 || p.Exit.Code == codeUnknown) {
			continue // It did not end by itself: its VM went away under it.
		}
		restarted, exited := c.observe(p, c.policy(policy), now)
		if restarted {
			m.opts.Metrics.AddRestart(o.key, p.ID)
			m.event(o.key, eventNormal, "Restarted", "container %s was started again", p.ID)
		}
		if exited {
			typ := eventNormal
			if p.Exit.Code != 0 {
				typ = eventWarning
			}
			m.event(o.key, typ, "Exited", "container %s exited with code %d", p.ID, p.Exit.Code)
		}
	}
	switch state {
	case drivers.StateBooted, drivers.StateRunning, drivers.StatePaused:
		if !o.vmUp && !o.ending {
			o.vmUp = true
			o.vmStarted = bootedAt(o.snapshot, now)
		}
		if state == drivers.StateRunning {
			m.measureBoot(o)
		}
	case drivers.StateStopped, drivers.StateShuttingDown:
		m.takeInLoss(o, o.snapshot.Reason, now)
	case drivers.StateCreated, drivers.StateStopping:
	}
}

func bootedAt(s drivers.Snapshot, now time.Time) time.Time {
	for _, st := range s.Timeline {
		if st.Name == drivers.StageVMStarted {
			return st.Time
		}
	}
	return now
}

// takeInLoss notes that the VM is gone, if it was there until now.
func (m *Manager) takeInLoss(o *object, why string, now time.Time) {
	if !o.vmUp || o.op != nil && o.op.action.Verb == ActStart && !o.ending {
		return // or it is not known yet whether a start that failed took the VM along
	}
	o.vmUp = false
	if o.ending {
		return
	}
	m.opts.Metrics.AddDrift(metrics.DriftVM)
	if why == "" {
		why = "the virtual machine ended"
	}
	policy := o.spec().PodTemplate.Spec.RestartPolicy
	delay := o.vmBackoff.ended(now, now.Sub(o.vmStarted))
	for _, c := range o.containers {
		c.lost(why, c.policy(policy), now)
	}
	if o.record.Built != nil && o.attach != AttachUp {
		m.opts.Metrics.AddPluginRestart(o.record.Built.Runtime)
	}
	if o.neverRan = o.startFailed(); !o.neverRan {
		m.event(o.key, eventWarning, ReasonVMLost, "%s; back-off %s before the next start", why, delay)
	}
	o.newStart(now)
}

// startFailed reports that the VM ended because nothing could be started in it: a
// runtime keeps none that never ran. The container's own event has told of it.
func (o *object) startFailed() bool {
	if slices.ContainsFunc(o.snapshot.Timeline, func(s drivers.Stage) bool { return s.Name == drivers.StageRunning }) {
		return false
	}
	for _, c := range o.containers {
		for _, t := range []*corev1.ContainerStateTerminated{c.status.State.Terminated, c.status.LastTerminationState.Terminated} {
			if t != nil && t.Reason == reasonStartError && !t.FinishedAt.Time.Before(o.vmStarted) {
				return true
			}
		}
	}
	return false
}

// takeInOutcome notes the end of a sandbox whose containers have all exited for
// good.
func (m *Manager) takeInOutcome(o *object, now time.Time) error {
	if o.record.Outcome != nil || len(o.containers) == 0 || o.record.DeletionTimestamp != nil {
		return nil
	}
	out := Outcome{Phase: manifests.PhaseSucceeded, Time: metav1.NewTime(now)}
	failed := o.failedInit()
	for _, c := range o.containers {
		name := c.status.Name
		if failed != "" && name != failed || failed == "" && c.init {
			continue
		}
		if !c.done || c.status.State.Terminated == nil {
			return nil
		}
		if t := c.status.State.Terminated; t.ExitCode != 0 {
			out.Phase = manifests.PhaseFailed
			out.Message = fmt.Sprintf("container %s exited with code %d", name, t.ExitCode)
			if failed != "" {
				out.Message = "init " + out.Message
			}
			if t.Message != "" {
				out.Message += ": " + t.Message
			}
		}
	}
	next := *o.record
	next.Outcome = &out
	if err := m.replaceRecord(o, &next); err != nil {
		return err
	}
	typ, reason := eventNormal, ReasonPodSucceeded
	if out.Phase == manifests.PhaseFailed {
		typ, reason = eventWarning, ReasonPodFailed
	}
	text := "every container has exited and none is to be started again"
	if failed != "" {
		text = "an init container has failed and is not to be started again"
	}
	m.event(o.key, typ, reason, "%s", text)
	return nil
}

// keepHypervisor notes which hypervisor process must not outlive the plugin's.
func (m *Manager) keepHypervisor(o *object) error {
	var id procfs.ID
	if mc := o.snapshot.Machine; mc != nil {
		id = procfs.ID{PID: mc.PID, StartTime: mc.StartTime}
	}
	if id.PID == 0 || id == o.record.Hypervisor {
		return nil
	}
	next := *o.record
	next.Hypervisor = id
	return m.replaceRecord(o, &next)
}

// measureBoot tells the metrics how long the boot took, once for each start.
func (m *Manager) measureBoot(o *object) {
	if o.measured || o.record.Built == nil {
		return
	}
	o.measured = true
	var begun time.Time
	for _, s := range o.snapshot.Timeline {
		if s.Name == drivers.StageBootstrap {
			begun = s.Time
		} else if !begun.IsZero() {
			m.opts.Metrics.Booted(o.record.Built.Runtime, s.Name, s.Time.Sub(begun))
		}
	}
}
