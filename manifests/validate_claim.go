package manifests

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxClaims bounds the claims of a sandbox, with what else is on a disk of its own,
// and its host paths: each takes a slot on the machine's bus.
const maxClaims = 8

func (r *report) validateClaim(c *corev1.PersistentVolumeClaim) {
	r.validateMeta(&c.ObjectMeta)
	r.validateReclaimPolicy(field.NewPath("metadata", "annotations"), c.Annotations)
	r.validateClaimSpec(field.NewPath("spec"), &c.Spec)
}

func (r *report) validateReclaimPolicy(path *field.Path, annotations map[string]string) {
	if policy, ok := annotations[ReclaimPolicyAnnotation]; ok {
		oneOf(r, keyed(path, ReclaimPolicyAnnotation), corev1.PersistentVolumeReclaimPolicy(policy),
			corev1.PersistentVolumeReclaimRetain, corev1.PersistentVolumeReclaimDelete)
	}
}

func (r *report) validateClaimSpec(path *field.Path, c *corev1.PersistentVolumeClaimSpec) {
	modes := path.Child("accessModes")
	if len(c.AccessModes) == 0 {
		r.errorf(modes, "required: ReadWriteOnce for one sandbox, ReadOnlyMany for several that only read")
	}
	for i, m := range c.AccessModes {
		if m == corev1.ReadWriteMany {
			r.errorf(modes.Index(i), "is not possible: several VMs cannot write to one disk; use ReadWriteOnce")
			continue
		}
		oneOf(r, modes.Index(i), m, corev1.ReadWriteOnce, corev1.ReadWriteOncePod, corev1.ReadOnlyMany)
	}
	if slices.Contains(c.AccessModes, corev1.ReadWriteOncePod) && len(c.AccessModes) > 1 {
		r.errorf(modes, "ReadWriteOncePod can only stand alone")
	}
	if *c.VolumeMode == corev1.PersistentVolumeBlock {
		r.errorf(path.Child("volumeMode"), "Block is not supported yet")
	} else {
		oneOf(r, path.Child("volumeMode"), *c.VolumeMode, corev1.PersistentVolumeFilesystem)
	}
	r.validateDataSource(path.Child("dataSource"), c.DataSource)
	requests := path.Child("resources", "requests")
	for name := range c.Resources.Requests {
		if name != corev1.ResourceStorage {
			r.errorf(keyed(requests, string(name)), "only storage can be requested")
		}
	}
	if q, ok := c.Resources.Requests[corev1.ResourceStorage]; !ok {
		r.errorf(keyed(requests, "storage"), "required: the size of the volume")
	} else {
		r.bytesInRange(keyed(requests, "storage"), &q, minDiskBytes, maxDiskBytes)
	}
}

func (r *report) validateDataSource(path *field.Path, s *corev1.TypedLocalObjectReference) {
	switch {
	case s == nil:
	case s.Kind == KindPersistentVolumeClaim && (s.APIGroup == nil || *s.APIGroup == ""):
		r.validateRefName(path.Child("name"), s.Name)
	case s.Kind == "VolumeSnapshot":
		r.errorf(path.Child("kind"), "VolumeSnapshot is not supported yet: name a PersistentVolumeClaim")
	default:
		r.errorf(path.Child("kind"), "must be %s, without an apiGroup", KindPersistentVolumeClaim)
	}
}

// validateEphemeral checks the claim that is made, and removed, with a sandbox.
func (r *report) validateEphemeral(path *field.Path, t *corev1.PersistentVolumeClaimTemplate) {
	if t == nil {
		r.errorf(path, "required: the claim that is made for the volume")
		return
	}
	metadata := path.Child("metadata")
	r.finishTemplateMeta(metadata, t.Labels, t.Annotations)
	r.refuseReclaimPolicy(metadata.Child("annotations"), t.Annotations, "an ephemeral volume goes with its sandbox")
	r.validateClaimSpec(path.Child("spec"), &t.Spec)
}

// refuseReclaimPolicy refuses the annotation where something else decides.
func (r *report) refuseReclaimPolicy(path *field.Path, annotations map[string]string, why string) {
	if _, ok := annotations[ReclaimPolicyAnnotation]; ok {
		r.errorf(keyed(path, ReclaimPolicyAnnotation), "has no meaning here: %s", why)
	}
}

// validateSetClaims checks what the claim templates of a StatefulSet have that a
// sandbox's have not.
func (r *report) validateSetClaims(path *field.Path, s *appsv1.StatefulSetSpec) {
	policy := path.Child("persistentVolumeClaimRetentionPolicy")
	for name, value := range map[string]appsv1.PersistentVolumeClaimRetentionPolicyType{
		"whenDeleted": s.PersistentVolumeClaimRetentionPolicy.WhenDeleted, "whenScaled": s.PersistentVolumeClaimRetentionPolicy.WhenScaled,
	} {
		oneOf(r, policy.Child(name), value, appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType)
	}
	for i := range s.VolumeClaimTemplates {
		c, at := &s.VolumeClaimTemplates[i], path.Child("volumeClaimTemplates").Index(i)
		if c.APIVersion != "" && c.APIVersion != "v1" {
			r.errorf(at.Child("apiVersion"), "must be v1")
		}
		if c.Kind != "" && c.Kind != KindPersistentVolumeClaim {
			r.errorf(at.Child("kind"), "must be %s", KindPersistentVolumeClaim)
		}
		if n := r.locate(at.Child("metadata").String()).get("namespace"); !n.isNull() {
			r.warnAt(n, at.Child("metadata", "namespace").String(), "has no effect here: a claim is in the set's namespace")
		}
		r.refuseReclaimPolicy(at.Child("metadata", "annotations"), c.Annotations, "persistentVolumeClaimRetentionPolicy of the set decides")
	}
}

// validateClaimTemplates checks claim templates, which have their defaults.
func (r *report) validateClaimTemplates(path *field.Path, templates []PersistentVolumeClaimTemplate) {
	names := sets.New[string]()
	for i := range templates {
		t, at := &templates[i], path.Index(i)
		name := at.Child("metadata", "name")
		switch messages := validation.IsDNS1123Label(t.ObjectMeta.Name); {
		case t.ObjectMeta.Name == "":
			r.errorf(name, "required: the claim's volume is named by it")
		case len(messages) > 0:
			r.errorf(name, "%s", join(messages))
		case names.Has(t.ObjectMeta.Name):
			r.errorf(name, "another template is named %s too", t.ObjectMeta.Name)
		}
		names.Insert(t.ObjectMeta.Name)
		r.validateLabels(at.Child("metadata", "labels"), t.ObjectMeta.Labels)
		r.validateAnnotations(at.Child("metadata", "annotations"), t.ObjectMeta.Annotations)
		r.validateReclaimPolicy(at.Child("metadata", "annotations"), t.ObjectMeta.Annotations)
		r.validateClaimSpec(at.Child("spec"), &t.Spec)
	}
}

// validateClaims checks a sandbox's claim templates and its use of claims.
func (r *report) validateClaims(s *Sandbox, pod *field.Path) {
	written, _ := s.splitVolumes()
	r.validateClaimTemplates(field.NewPath("spec", "volumeClaimTemplates"), s.Spec.VolumeClaimTemplates)
	for i := range s.Spec.VolumeClaimTemplates {
		t := &s.Spec.VolumeClaimTemplates[i]
		name := field.NewPath("spec", "volumeClaimTemplates").Index(i).Child("metadata", "name")
		switch {
		case t.ObjectMeta.Name == "":
		case slices.ContainsFunc(written, func(v corev1.Volume) bool { return v.Name == t.ObjectMeta.Name }):
			r.errorf(name, "a volume is named %s too", t.ObjectMeta.Name)
		case len(t.claimName(s)) > validation.DNS1123SubdomainMaxLength:
			r.errorf(name, "the claim's name, %s, has more than %d characters", t.claimName(s), validation.DNS1123SubdomainMaxLength)
		}
	}
	claims := sets.New[string]()
	disks, shares := 0, 0
	for i, v := range s.Spec.PodTemplate.Spec.Volumes {
		at := pod.Child("volumes").Index(i)
		var name string
		switch {
		case v.PersistentVolumeClaim != nil:
			name, at = v.PersistentVolumeClaim.ClaimName, at.Child("persistentVolumeClaim", "claimName")
		case v.Ephemeral != nil:
			name = s.EphemeralClaim(v.Name)
		case v.HostPath != nil:
			shares++
			continue
		default:
			if e := v.EmptyDir; e != nil && e.Medium == corev1.StorageMediumDefault && e.SizeLimit != nil && !e.SizeLimit.IsZero() {
				disks++
			}
			continue
		}
		if claims.Has(name) && i < len(written) {
			r.errorf(at, "claim %s is in another volume too: mount that one", name)
		}
		claims.Insert(name)
	}
	if n := disks + len(claims); n > maxClaims {
		r.errorf(pod.Child("volumes"), "%d claims and directories with a sizeLimit are more than %d", n, maxClaims)
	}
	if shares > maxClaims {
		r.errorf(pod.Child("volumes"), "%d host paths are more than %d", shares, maxClaims)
	}
}
