package workload

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// ClaimInput is what a SandboxClaim is decided by.
type ClaimInput struct {
	UID  types.UID
	Spec *manifests.SandboxClaimSpec
	Was  manifests.SandboxClaimStatus
	// Own are the claim's sandboxes: one, or none.
	Own []Sandbox
	// Pool is the spec of the pool that the claim names, nil if there is none;
	// Members are its sandboxes.
	Pool    *manifests.SandboxWarmPoolSpec
	Members []Sandbox
	// Template is that of the pool; nil if there is none.
	Template *manifests.SandboxTemplateSpec
	Now      time.Time
}

// ClaimPlan is what to do for a SandboxClaim.
type ClaimPlan struct {
	Status manifests.SandboxClaimStatus
	// Take names the sandboxes of the pool that will do, the best first.
	Take []string
	// Make is what to make a sandbox from if none of those can be had.
	Make *manifests.SandboxBlueprint
	// Metadata is what the podTemplate of the claim's sandbox is to have; nil to
	// leave it as it is.
	Metadata *manifests.PodMetadata
	// Delete names the sandboxes to remove.
	Delete []string
	Events []Event
	Again  time.Time
}

// claimPlanner works one ClaimPlan out.
type claimPlanner struct {
	ClaimPlan
	ClaimInput
}

// PlanClaim decides on the sandbox of a claim, with its defaults.
//
// A claim that asks for nothing of its own takes a sandbox that is ready of its
// pool, the one that has been so for longest; all others get one made for them. A
// claim keeps its sandbox, whatever becomes of pool and template, until it expires.
func PlanClaim(in ClaimInput) ClaimPlan {
	p := &claimPlanner{ClaimInput: in}
	p.Status = in.Was
	p.Status.Conditions = slices.Clone(in.Was.Conditions)
	p.mirror()
	switch {
	case p.expired():
		p.end()
	case len(p.Own) > 0:
		p.keep()
	default:
		p.obtain()
	}
	return p.ClaimPlan
}

// mirror shows the sandbox that there is. Its end stays known after it is gone, as
// long as the claim goes by it.
func (p *claimPlanner) mirror() {
	st := &p.Status
	if len(p.Own) == 0 {
		st.Sandbox = manifests.ClaimedSandbox{}
		if !p.expired() {
			meta.RemoveStatusCondition(&st.Conditions, manifests.ConditionFinished)
		}
		return
	}
	s := &p.Own[0]
	st.Sandbox = manifests.ClaimedSandbox{Name: s.Name, PodIPs: s.PodIPs}
	if c := meta.FindStatusCondition(s.Conditions, manifests.ConditionFinished); c != nil {
		meta.SetStatusCondition(&st.Conditions, *c)
	} else {
		meta.RemoveStatusCondition(&st.Conditions, manifests.ConditionFinished)
	}
}

// expired reports whether the claim's end has come, and else notes when it comes.
func (p *claimPlanner) expired() bool {
	l := p.Spec.Lifecycle
	if l == nil {
		return false
	}
	var ends []time.Time
	if l.ShutdownTime != nil {
		ends = append(ends, l.ShutdownTime.Time)
	}
	finished := meta.FindStatusCondition(p.Status.Conditions, manifests.ConditionFinished)
	if l.TTLSecondsAfterFinished != nil && finished != nil && finished.Status == metav1.ConditionTrue {
		ends = append(ends, finished.LastTransitionTime.Add(time.Duration(*l.TTLSecondsAfterFinished)*time.Second))
	}
	for _, at := range ends {
		if !p.Now.Before(at) {
			return true
		}
		p.Again = earliest(p.Again, at)
	}
	return false
}

// end removes the sandbox of a claim that has expired. The claim itself stays as
// long as its manifest, whatever the policy: without it another sandbox would be
// made.
func (p *claimPlanner) end() {
	p.Again = time.Time{}
	for _, s := range p.Own {
		if !s.Deleting {
			p.Delete = append(p.Delete, s.Name)
		}
	}
	if c := meta.FindStatusCondition(p.Was.Conditions, manifests.ConditionReady); c == nil || c.Reason != ReasonClaimExpired {
		p.Events = append(p.Events, Event{Reason: ReasonClaimExpired, Message: "the claim has expired: its sandbox is removed"})
	}
	message := "Claim expired. Sandbox cleanup initiated."
	if len(p.Own) == 0 {
		message = "Claim expired. Its sandbox is gone."
	}
	p.unready(ReasonClaimExpired, message, "")
}

// keep shows the claim as ready as its sandbox.
func (p *claimPlanner) keep() {
	st, s := &p.Status, &p.Own[0]
	if p.Template != nil && !s.Deleting {
		metadata, refusal := p.metadata(&p.Template.PodTemplate.ObjectMeta)
		if refusal != nil {
			p.unready(refusal.Reason, refusal.Message, manifests.ConditionStalled)
			return
		}
		p.Metadata = metadata
	}
	ready := meta.FindStatusCondition(s.Conditions, manifests.ConditionReady)
	switch {
	case ready == nil:
		p.unready(ReasonSandboxNotReady, "Sandbox is not ready", manifests.ConditionReconciling)
		return
	case s.Stalled != "":
		p.unready(ready.Reason, s.Stalled, manifests.ConditionStalled)
		return
	case ready.Status != metav1.ConditionTrue && !s.Finished:
		p.unready(ready.Reason, ready.Message, manifests.ConditionReconciling)
		return
	}
	setSummary(&st.Conditions, "", "", "", p.Now)
	setCondition(&st.Conditions, manifests.ConditionReady, ready.Status, ready.Reason, ready.Message, p.Now)
}

// obtain finds the claim a sandbox.
func (p *claimPlanner) obtain() {
	if p.Pool == nil {
		p.unready(ReasonWarmPoolNotFound, fmt.Sprintf("SandboxWarmPool %q not found", p.Spec.WarmPoolRef.Name), manifests.ConditionStalled)
		return
	}
	p.take()
	if p.Template == nil {
		if len(p.Take) == 0 {
			p.unready(ReasonTemplateNotFound, templateNotFound(p.Pool), manifests.ConditionStalled)
		}
		return
	}
	made, refusal := p.blueprint()
	if refusal != nil {
		p.Take = nil
		p.unready(refusal.Reason, refusal.Message, manifests.ConditionStalled)
		return
	}
	p.Make, p.Metadata = made, &made.PodTemplate.ObjectMeta
	p.unready(ReasonSandboxMissing, "Sandbox does not exist", manifests.ConditionReconciling)
}

// take lists what the pool has for the claim.
func (p *claimPlanner) take() {
	if len(p.Spec.Env) > 0 || len(p.Spec.VolumeClaimTemplates) > 0 {
		return // They cannot be had in a VM that was built without them.
	}
	recreate := p.Pool.UpdateStrategy.Type == manifests.WarmPoolRecreate
	more := &p.Spec.AdditionalPodMetadata
	if p.Template == nil && (recreate || len(more.Labels)+len(more.Annotations) > 0) {
		return // It is not known which are stale, or what the template has to say.
	}
	fits := slices.DeleteFunc(slices.Clone(p.Members), func(s Sandbox) bool {
		return !s.Ready || s.Deleting || s.Finished || recreate && s.Revision != TemplateHash(&p.Template.SandboxBlueprint)
	})
	slices.SortFunc(fits, func(a, b Sandbox) int {
		return cmp.Or(a.Since.Compare(b.Since), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	for _, s := range fits {
		p.Take = append(p.Take, s.Name)
	}
}

// unready says why the claim is not ready, and what that means for it: state is
// Reconciling, Stalled or empty.
func (p *claimPlanner) unready(reason, message, state string) {
	setSummary(&p.Status.Conditions, state, reason, message, p.Now)
	setCondition(&p.Status.Conditions, manifests.ConditionReady, metav1.ConditionFalse, reason, message, p.Now)
}
