package workload

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// refusal is why a template does not let a claim have what it asks for.
type refusal struct{ Reason, Message string }

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// blueprint is what the claim's sandbox is made from: the template with what the
// claim asks for, as far as the template lets it.
func (p *claimPlanner) blueprint() (*manifests.SandboxBlueprint, *refusal) {
	b := p.Template.SandboxBlueprint.DeepCopy()
	metadata, no := p.metadata(&b.PodTemplate.ObjectMeta)
	if no != nil {
		return nil, no
	}
	b.PodTemplate.ObjectMeta = *metadata
	if b.VolumeClaimTemplates, no = p.volumeClaimTemplates(b.VolumeClaimTemplates); no != nil {
		return nil, no
	}
	if no = p.inject(&b.PodTemplate.Spec); no != nil {
		return nil, no
	}
	return b, nil
}

// metadata adds what the claim asks for to the template's metadata, of which it
// may change nothing.
func (p *claimPlanner) metadata(of *manifests.PodMetadata) (*manifests.PodMetadata, *refusal) {
	more := &p.Spec.AdditionalPodMetadata
	labels, no := merged("label", of.Labels, more.Labels)
	if no != nil {
		return nil, no
	}
	labels[ClaimUIDLabel], labels[TemplateRefHashLabel] = string(p.UID), NameHash(p.Pool.TemplateRef.Name)
	annotations, no := merged("annotation", of.Annotations, more.Annotations)
	if no != nil {
		return nil, no
	}
	return &manifests.PodMetadata{Labels: labels, Annotations: annotations}, nil
}

func merged(what string, of, more map[string]string) (map[string]string, *refusal) {
	all := maps.Clone(of)
	if all == nil {
		all = map[string]string{}
	}
	for _, k := range slices.Sorted(maps.Keys(more)) {
		if was, ok := of[k]; ok && was != more[k] {
			return nil, refuse(ReasonInvalidMetadata, "%s %q is %q in the template, and %q in the claim", what, k, was, more[k])
		}
		all[k] = more[k]
	}
	return all, nil
}

func (p *claimPlanner) volumeClaimTemplates(of []manifests.PersistentVolumeClaimTemplate) ([]manifests.PersistentVolumeClaimTemplate, *refusal) {
	policy := p.Template.VolumeClaimTemplatesPolicy
	if len(p.Spec.VolumeClaimTemplates) > 0 && policy == manifests.InjectionDisallowed {
		return nil, refuse(ReasonVolumeClaims, "volume claim templates are disallowed by the template")
	}
	for _, t := range p.Spec.VolumeClaimTemplates {
		name := t.ObjectMeta.Name
		i := slices.IndexFunc(of, func(o manifests.PersistentVolumeClaimTemplate) bool { return o.ObjectMeta.Name == name })
		switch volumes := p.Template.PodTemplate.Spec.Volumes; {
		case i >= 0 && policy != manifests.InjectionOverrides:
			return nil, refuse(ReasonVolumeClaims, "overriding volume claim template %q is forbidden by the template", name)
		case i >= 0:
			of[i] = t
		case slices.ContainsFunc(volumes, func(v corev1.Volume) bool { return v.Name == name }):
			return nil, refuse(ReasonVolumeClaims, "a volume of the template is named %q too", name)
		default:
			of = append(of, t)
		}
	}
	return of, nil
}

// inject gives the claim's variables to its containers.
func (p *claimPlanner) inject(pod *corev1.PodSpec) *refusal {
	if len(p.Spec.Env) > 0 && p.Template.EnvVarsInjectionPolicy == manifests.InjectionDisallowed {
		return refuse(ReasonEnvRejected, "environment variable injection is not allowed by the template policy")
	}
	for _, e := range p.Spec.Env {
		c := containerOf(pod, e.ContainerName)
		if c == nil {
			return refuse(ReasonEnvRejected, "the template has no container %q for variable %s", e.ContainerName, e.Name)
		}
		if no := p.setEnv(c, e); no != nil {
			return no
		}
	}
	return nil
}

// containerOf returns the container of a name; the first one if it is empty.
func containerOf(pod *corev1.PodSpec, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Containers, pod.InitContainers} {
		for i := range list {
			if name == "" || list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func (p *claimPlanner) setEnv(c *corev1.Container, e manifests.SandboxClaimEnv) *refusal {
	overrides := p.Template.EnvVarsInjectionPolicy == manifests.InjectionOverrides
	if !overrides && len(c.EnvFrom) > 0 {
		return refuse(ReasonEnvRejected, "container %q has envFrom: with policy Allowed it cannot be told whether %s would replace a variable of it", c.Name, e.Name)
	}
	set := corev1.EnvVar{Name: e.Name, Value: e.Value}
	i := slices.IndexFunc(c.Env, func(has corev1.EnvVar) bool { return has.Name == e.Name })
	switch {
	case i < 0:
		c.Env = append(c.Env, set)
	case !overrides:
		return refuse(ReasonEnvRejected, "environment variable override is not allowed by the template policy for variable %q", e.Name)
	default:
		c.Env[i] = set
	}
	return nil
}
