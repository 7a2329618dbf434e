package reconciler

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// initPolicy is the restart policy of init containers: what has completed is
// never started again in the same VM.
func initPolicy(pod corev1.RestartPolicy) corev1.RestartPolicy {
	if pod == corev1.RestartPolicyAlways {
		return corev1.RestartPolicyOnFailure
	}
	return pod
}

// policy is the container's own, from its Pod's.
func (c *container) policy(pod corev1.RestartPolicy) corev1.RestartPolicy {
	if c.init {
		return initPolicy(pod)
	}
	return pod
}

// completed reports whether an init container has done its work in the VM that
// the process was seen in.
func completed(p drivers.ProcessStatus) bool {
	return p.State == drivers.ProcessExited && p.Exit != nil && p.Exit.Code == 0
}

// forgetCompletion makes an init container that had completed wait to run again:
// its VM is gone.
func (c *container) forgetCompletion(reason string) {
	if t := c.status.State.Terminated; c.init && t != nil && t.ExitCode == 0 {
		c.done = false
		c.setNotRunning(waiting(reason, ""))
	}
}

// failedInit returns the name of an init container that has failed for good: the
// others are then never started. It is empty if there is none.
func (o *object) failedInit() string {
	for _, spec := range o.spec().PodTemplate.Spec.InitContainers {
		c := o.containers.get(spec.Name)
		if c == nil || !c.done || c.status.State.Terminated == nil {
			continue
		}
		if c.status.State.Terminated.ExitCode != 0 {
			return spec.Name
		}
	}
	return ""
}
