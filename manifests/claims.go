package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

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
	// Ephemeral says that the volume is the sandbox's own and goes with it.
	Ephemeral bool
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
	for i := range s.Spec.PodTemplate.Spec.Volumes {
		v := &s.Spec.PodTemplate.Spec.Volumes[i]
		if c := v.PersistentVolumeClaim; c != nil {
			claims = append(claims, Claim{Name: c.ClaimName, ReadOnly: c.ReadOnly, Template: templates[c.ClaimName]})
		}
		if e := v.Ephemeral; e != nil && e.VolumeClaimTemplate != nil {
			claims = append(claims, Claim{Name: s.EphemeralClaim(v.Name), Template: ephemeralTemplate(e.VolumeClaimTemplate), Ephemeral: true})
		}
	}
	return claims
}

// EphemeralClaim is the name of the claim of an ephemeral volume, which is
// Kubernetes'.
func (s *Sandbox) EphemeralClaim(volume string) string { return s.Name + "-" + volume }

// ephemeralTemplate is the template of a claim that goes with its sandbox.
func ephemeralTemplate(t *corev1.PersistentVolumeClaimTemplate) *PersistentVolumeClaimTemplate {
	return &PersistentVolumeClaimTemplate{
		ObjectMeta: EmbeddedObjectMetadata{
			Labels:      t.Labels,
			Annotations: map[string]string{ReclaimPolicyAnnotation: string(corev1.PersistentVolumeReclaimDelete)},
		},
		Spec: t.Spec,
	}
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

// templatesOf turns the claims of a StatefulSet into the templates of each of its
// sandboxes.
func templatesOf(claims []corev1.PersistentVolumeClaim) []PersistentVolumeClaimTemplate {
	var templates []PersistentVolumeClaimTemplate
	for i := range claims {
		c := &claims[i]
		templates = append(templates, PersistentVolumeClaimTemplate{
			ObjectMeta: EmbeddedObjectMetadata{Name: c.Name, Labels: c.Labels, Annotations: c.Annotations},
			Spec:       *c.Spec.DeepCopy(),
		})
	}
	return templates
}

// HasClaims reports whether a sandbox has just the claims that a StatefulSet makes
// for each of its own.
func HasClaims(s *Sandbox, claims []corev1.PersistentVolumeClaim) bool {
	return equality.Semantic.DeepEqual(s.Spec.VolumeClaimTemplates, templatesOf(claims))
}

// ClaimBytes is the size that a claim requests.
func ClaimBytes(c *corev1.PersistentVolumeClaimSpec) int64 {
	return c.Resources.Requests.Storage().Value()
}
