package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// warmPool and sandboxClaim are objects of these kinds as the daemon sends them.
type (
	warmPool struct {
		Spec   manifests.SandboxWarmPoolSpec   `json:"spec"`
		Status manifests.SandboxWarmPoolStatus `json:"status"`
	}
	sandboxClaim struct {
		Spec   manifests.SandboxClaimSpec   `json:"spec"`
		Status manifests.SandboxClaimStatus `json:"status"`
	}
)

// ready returns how many sandboxes are ready to be claimed, of how many: "2/3".
func (p *warmPool) ready() string {
	return fmt.Sprintf("%d/%d", p.Status.ReadyReplicas, valueOr(p.Spec.Replicas, 1))
}

func (p *warmPool) cells(age string, wide bool) []string {
	cells := []string{strconv.Itoa(int(p.Status.ReadyReplicas)), strconv.Itoa(int(valueOr(p.Spec.Replicas, 1))), age}
	if wide {
		cells = append(cells, p.Spec.TemplateRef.Name)
	}
	return cells
}

// condition is the claim's Ready, empty if there is none yet.
func (c *sandboxClaim) condition() metav1.Condition {
	return valueOr(meta.FindStatusCondition(c.Status.Conditions, manifests.ConditionReady), metav1.Condition{})
}

// state sums a claim up in one word: Ready, or why it is not.
func (c *sandboxClaim) state() string {
	ready := c.condition()
	if ready.Status == metav1.ConditionTrue {
		return manifests.ConditionReady
	}
	return cmp.Or(ready.Reason, string(manifests.PhasePending))
}

func (c *sandboxClaim) cells(age string, wide bool) []string {
	ready := c.condition()
	cells := []string{cmp.Or(string(ready.Status), string(metav1.ConditionUnknown)), orNone(c.Status.Sandbox.Name), orNone(ready.Reason), age}
	if wide {
		cells = append(cells, c.Spec.WarmPoolRef.Name, orNone(strings.Join(c.Status.Sandbox.PodIPs, ",")))
	}
	return cells
}

func (d *description) warmPool(p *warmPool) {
	strategy := manifests.WarmPoolOnReplenish
	if u := p.Spec.UpdateStrategy; u != nil {
		strategy = cmp.Or(u.Type, strategy)
	}
	d.field(0, "Replicas", fmt.Sprintf("%d desired | %d total | %d ready", valueOr(p.Spec.Replicas, 1), p.Status.Replicas, p.Status.ReadyReplicas))
	d.field(0, "Template", p.Spec.TemplateRef.Name)
	d.field(0, "Update strategy", string(strategy))
	d.field(0, "Selector", p.Status.Selector)
}

func (d *description) sandboxClaim(c *sandboxClaim) {
	d.field(0, "Pool", c.Spec.WarmPoolRef.Name)
	d.field(0, "Sandbox", orNone(c.Status.Sandbox.Name))
	d.field(0, "IPs", strings.Join(c.Status.Sandbox.PodIPs, ", "))
	if l := c.Spec.Lifecycle; l != nil {
		if l.ShutdownTime != nil {
			d.field(0, "Shutdown time", l.ShutdownTime.Local().Format("2006-01-02 15:04:05 MST"))
		}
		if l.TTLSecondsAfterFinished != nil {
			d.field(0, "TTL after finished", strconv.Itoa(int(*l.TTLSecondsAfterFinished))+"s")
		}
		d.field(0, "Shutdown policy", string(cmp.Or(l.ShutdownPolicy, manifests.ClaimShutdownRetain)))
	}
	for _, e := range c.Spec.Env { // whose values may be secret
		d.field(0, "Variable", strings.TrimSuffix(e.Name+" of "+e.ContainerName, " of "))
	}
}

func (d *description) sandboxTemplate(o *object) {
	t := decodeAs[manifests.SandboxTemplate](o)
	d.template(o)
	d.field(0, "Variables of claims", string(cmp.Or(t.Spec.EnvVarsInjectionPolicy, manifests.InjectionDisallowed)))
	d.field(0, "Volumes of claims", string(cmp.Or(t.Spec.VolumeClaimTemplatesPolicy, manifests.InjectionDisallowed)))
}
