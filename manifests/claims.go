package manifests

import corev1 "k8s.io/api/core/v1"

// ReclaimPolicyAnnotation of a PersistentVolumeClaim, or of a claim template, says
// what becomes of the volume when its claim is gone: Retain, which is the
// default, or Delete.
const ReclaimPolicyAnnotation = "vzreconciler.dev/reclaim-policy"

// A Claim is a sandbox's use of a PersistentVolumeClaim.
type Claim struct {
	// Name of the claim, in the sandbox's namespace.
	Name string
	// ReadOnly says that no container of the sandbox may write to it.
	ReadOnly bool
	// Template is what the claim is made from; nil if it has a manifest of its own.
	Template *PersistentVolumeClaimTemplate
}

// ClaimStatus is what is true of a PersistentVolumeClaim now; its fields are
// Kubernetes'.
type ClaimStatus struct {
	corev1.PersistentVolumeClaimStatus `json:",inline"`

	Source *Source `json:"source,omitempty"`
}

// Claims lists the claims that the sandbox uses, in the order of its volumes.
func (s *Sandbox) Claims() []Claim {
	templates := make(map[string]*PersistentVolumeClaimTemplate, len(s.Spec.VolumeClaimTemplates))
	for i := range s.Spec.VolumeClaimTemplates {
		t := &s.Spec.VolumeClaimTemplates[i]
		templates[t.claimName(s)] = t
	}
	var claims []Claim
	for _, v := range s.Spec.PodTemplate.Spec.Volumes {
		if c := v.PersistentVolumeClaim; c != nil {
			claims = append(claims, Claim{Name: c.ClaimName, ReadOnly: c.ReadOnly, Template: templates[c.ClaimName]})
		}
	}
	return claims
}

// splitVolumes returns the volumes that were written, and those that
// addTemplateVolumes has added to them.
func (s *Sandbox) splitVolumes() (written, fromTemplates []corev1.Volume) {
	volumes := s.Spec.PodTemplate.Spec.Volumes
	n := len(volumes) - len(s.Spec.VolumeClaimTemplates)
	return volumes[:n], volumes[n:]
}

// claimName is the name that agent-sandbox and StatefulSets give a claim made from
// a template.
func (t *PersistentVolumeClaimTemplate) claimName(s *Sandbox) string {
	return t.ObjectMeta.Name + "-" + s.Name
}

// ClaimBytes is the size that a claim requests.
func ClaimBytes(c *corev1.PersistentVolumeClaimSpec) int64 {
	return c.Resources.Requests.Storage().Value()
}
