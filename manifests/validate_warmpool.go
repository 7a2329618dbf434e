package manifests

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// claimLabelDomain is the domain of the labels that claims may set: those of other
// domains may be what policies go by.
const claimLabelDomain = "sandbox.users.io"

// safeToEvict is the one annotation of Kubernetes' domains that claims may set.
const safeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"

func (r *report) validateSandboxTemplate(path *field.Path, s *SandboxTemplateSpec) {
	oneOf(r, path.Child("envVarsInjectionPolicy"), s.EnvVarsInjectionPolicy, InjectionDisallowed, InjectionAllowed, InjectionOverrides)
	oneOf(r, path.Child("volumeClaimTemplatesPolicy"), s.VolumeClaimTemplatesPolicy, InjectionDisallowed, InjectionAllowed, InjectionOverrides)
	switch at := path.Child("networkPolicyManagement"); s.NetworkPolicyManagement {
	case "", NetworkPolicyUnmanaged:
	case NetworkPolicyManaged:
		r.errorf(at, "Managed is not supported yet: write %s; a sandbox reaches only the networks that it names", NetworkPolicyUnmanaged)
	default:
		oneOf(r, at, s.NetworkPolicyManagement, NetworkPolicyManaged, NetworkPolicyUnmanaged)
	}
}

func (r *report) validateSandboxWarmPool(path *field.Path, s *SandboxWarmPoolSpec) {
	inRange(r, path.Child("replicas"), int64(*s.Replicas), 0, maxReplicas)
	r.validateRefName(path.Child("sandboxTemplateRef", "name"), s.TemplateRef.Name)
	oneOf(r, path.Child("updateStrategy", "type"), s.UpdateStrategy.Type, WarmPoolOnReplenish, WarmPoolRecreate)
}

func (r *report) validateSandboxClaim(path *field.Path, s *SandboxClaimSpec) {
	r.validateRefName(path.Child("warmPoolRef", "name"), s.WarmPoolRef.Name)
	if l := s.Lifecycle; l != nil {
		at := path.Child("lifecycle")
		oneOf(r, at.Child("shutdownPolicy"), l.ShutdownPolicy, ClaimShutdownRetain, ClaimShutdownDelete, ClaimShutdownDeleteForeground)
		if l.TTLSecondsAfterFinished != nil {
			inRange(r, at.Child("ttlSecondsAfterFinished"), int64(*l.TTLSecondsAfterFinished), 0, maxSeconds)
		}
	}
	r.validateAdditionalMetadata(path.Child("additionalPodMetadata"), &s.AdditionalPodMetadata)
	atMost(r, path.Child("env"), len(s.Env), maxEnv)
	names := sets.New[[2]string]()
	for i, e := range s.Env {
		at := path.Child("env").Index(i)
		r.validateVariable(at, e.Name, e.Value)
		if names.Has([2]string{e.ContainerName, e.Name}) {
			r.errorf(at.Child("name"), "%s is set twice", e.Name)
		}
		names.Insert([2]string{e.ContainerName, e.Name})
	}
	r.validateClaimTemplates(path.Child("volumeClaimTemplates"), s.VolumeClaimTemplates)
}

// validateAdditionalMetadata holds what a claim adds to its sandbox against what
// agent-sandbox lets it.
func (r *report) validateAdditionalMetadata(path *field.Path, m *PodMetadata) {
	r.validateLabels(path.Child("labels"), m.Labels)
	r.validateAnnotations(path.Child("annotations"), m.Annotations)
	for k := range m.Labels {
		if domain, _, ok := strings.Cut(k, "/"); !ok || !inDomain(domain, claimLabelDomain) {
			r.errorf(keyed(path.Child("labels"), k), "a claim's labels are of the domain %s, such as %s/team: others may be what policies go by", claimLabelDomain, claimLabelDomain)
		}
	}
	for k := range m.Annotations {
		domain, _, ok := strings.Cut(k, "/")
		reserved := slices.ContainsFunc([]string{"kubernetes.io", "k8s.io", "agents.x-k8s.io", "vzreconciler.dev"}, func(of string) bool { return inDomain(domain, of) })
		if ok && reserved && k != safeToEvict {
			r.errorf(keyed(path.Child("annotations"), k), "a claim may not set annotations of the domain %s", domain)
		}
	}
}

func inDomain(domain, of string) bool {
	domain = strings.ToLower(domain)
	return domain == of || strings.HasSuffix(domain, "."+of)
}
