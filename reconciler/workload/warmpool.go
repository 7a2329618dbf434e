package workload

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// Labels and annotations of the sandboxes that pools and claims make, as
// agent-sandbox has them.
const (
	// WarmPoolLabel is the NameHash of the pool of an unclaimed sandbox.
	WarmPoolLabel = "agents.x-k8s.io/warm-pool-sandbox"
	// TemplateHashLabel tells which version of the template it was made from, as
	// long as it is unclaimed.
	TemplateHashLabel = "agents.x-k8s.io/sandbox-template-hash"
	// TemplateRefHashLabel is the NameHash of the template.
	TemplateRefHashLabel = "agents.x-k8s.io/sandbox-template-ref-hash"
	// TemplateRefAnnotation names the template.
	TemplateRefAnnotation = "agents.x-k8s.io/sandbox-template-ref"
	// LaunchTypeLabel is LaunchCold for a sandbox that was made for its claim, and
	// LaunchWarm for one of a pool.
	LaunchTypeLabel = "agents.x-k8s.io/launch-type"
	LaunchCold      = "cold"
	LaunchWarm      = "warm"
	// ClaimUIDLabel is the UID of the claim that has the sandbox.
	ClaimUIDLabel = "agents.x-k8s.io/claim-uid"
)

// Reasons of the conditions of pools and claims; a claim's are agent-sandbox's.
const (
	ReasonTemplateNotFound  = "TemplateNotFound"
	ReasonWarmPoolNotFound  = "WarmPoolNotFound"
	ReasonClaimExpired      = "ClaimExpired"
	ReasonSandboxMissing    = "SandboxMissing"
	ReasonSandboxNotReady   = "SandboxNotReady"
	ReasonEnvRejected       = "EnvVarsInjectionRejected"
	ReasonVolumeClaims      = "VolumeClaimTemplatesError"
	ReasonInvalidMetadata   = "InvalidMetadata"
	reasonSandboxesReady    = "SandboxesReady"
	reasonSandboxesNotReady = "SandboxesNotReady"
	reasonSandboxStalled    = "SandboxStalled"
)

// replaceAfter is how long after it was made a sandbox of a pool that has ended is
// replaced: one that always ends must not be made all the time.
const replaceAfter = 5 * time.Minute

// NameHash stands for a name where a label's value must be short.
func NameHash(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return fmt.Sprintf("%08x", h.Sum32())
}

// TemplateHash stands for a version of a template in labels.
func TemplateHash(b *manifests.SandboxBlueprint) string { return b.Hash()[:revisionHash] }

// WarmPoolPlan is what to do for a SandboxWarmPool.
type WarmPoolPlan struct {
	Status manifests.SandboxWarmPoolStatus
	// Create is how many sandboxes to make.
	Create int
	// Delete names the sandboxes to remove.
	Delete []string
	Again  time.Time
}

// PlanWarmPool decides on the unclaimed sandboxes of a pool, with its defaults.
// template is the TemplateHash of its template, empty if there is none.
//
// A sandbox of an older template goes at once if the strategy is Recreate; else it
// waits for its claim, as a newer one does.
func PlanWarmPool(name string, spec *manifests.SandboxWarmPoolSpec, was manifests.SandboxWarmPoolStatus, template string, there []Sandbox, now time.Time) WarmPoolPlan {
	p := WarmPoolPlan{Status: was}
	p.Status.Conditions = slices.Clone(was.Conditions)
	p.Status.Selector = WarmPoolLabel + "=" + NameHash(name)
	var members []Sandbox
	ending, trouble := 0, ""
	for _, s := range there {
		switch end := s.Created.Add(replaceAfter); {
		case s.Deleting:
			ending++
			continue
		case template != "" && s.Revision != template && spec.UpdateStrategy.Type == manifests.WarmPoolRecreate,
			s.Finished && !end.After(now):
			p.Delete = append(p.Delete, s.Name)
			ending++
			continue
		case s.Finished:
			p.Again = earliest(p.Again, end)
		case s.Stalled != "" && trouble == "":
			trouble = s.Name + ": " + s.Stalled
		}
		members = append(members, s)
	}
	// Those that can best be done without come first.
	slices.SortFunc(members, func(a, b Sandbox) int {
		if a.Ready != b.Ready {
			if a.Ready {
				return 1
			}
			return -1
		}
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.Name, a.Name))
	})
	n := int(*spec.Replicas)
	for len(members) > n {
		p.Delete = append(p.Delete, members[0].Name)
		members = members[1:]
	}
	if template != "" {
		p.Create = max(n-len(members)-ending, 0)
	}
	p.Status.Replicas, p.Status.ReadyReplicas = 0, 0
	for _, s := range members {
		p.Status.Replicas++
		if s.Ready {
			p.Status.ReadyReplicas++
		}
	}
	p.conclude(spec, template, trouble, n, now)
	return p
}

func (p *WarmPoolPlan) conclude(spec *manifests.SandboxWarmPoolSpec, template, trouble string, n int, now time.Time) {
	st := &p.Status
	message := fmt.Sprintf("%d of %d sandboxes are ready", st.ReadyReplicas, n)
	state, reason := "", ""
	switch full := int(st.ReadyReplicas) >= n; {
	case template == "":
		state, reason, message = manifests.ConditionStalled, ReasonTemplateNotFound, templateNotFound(spec)
	case trouble != "":
		state, reason, message = manifests.ConditionStalled, reasonSandboxStalled, trouble
	case !full:
		state, reason = manifests.ConditionReconciling, reasonSandboxesNotReady
	}
	setSummary(&st.Conditions, state, reason, message, now)
	if state == "" {
		setCondition(&st.Conditions, manifests.ConditionReady, metav1.ConditionTrue, reasonSandboxesReady, message, now)
		return
	}
	setCondition(&st.Conditions, manifests.ConditionReady, metav1.ConditionFalse, reason, message, now)
}

func templateNotFound(spec *manifests.SandboxWarmPoolSpec) string {
	return fmt.Sprintf("SandboxTemplate %q not found", spec.TemplateRef.Name)
}
