package manifests

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WorkloadKinds are the kinds whose objects make sandboxes.
func WorkloadKinds() []string {
	return []string{KindJob, KindCronJob, KindStatefulSet, KindSandboxWarmPool, KindSandboxClaim}
}

func isWorkload(kind string) bool { return slices.Contains(WorkloadKinds(), kind) }

// IsWorkload reports whether objects of the key's kind make sandboxes.
func (k Key) IsWorkload() bool { return isWorkload(k.Kind) }

// IsConfig reports whether the key is that of a ConfigMap, a Secret or another
// object that nothing runs for.
func (k Key) IsConfig() bool { return k.Kind != KindSandbox && !isWorkload(k.Kind) }

// Meta returns the metadata of the object, with its namespace.
func (o *Object) Meta() *metav1.ObjectMeta {
	switch {
	case o.Sandbox != nil:
		return &o.Sandbox.ObjectMeta
	case o.ConfigMap != nil:
		return &o.ConfigMap.ObjectMeta
	case o.Secret != nil:
		return &o.Secret.ObjectMeta
	case o.Claim != nil:
		return &o.Claim.ObjectMeta
	case o.RuntimeClass != nil:
		return &o.RuntimeClass.ObjectMeta
	case o.Network != nil:
		return &o.Network.ObjectMeta
	case o.Job != nil:
		return &o.Job.ObjectMeta
	case o.CronJob != nil:
		return &o.CronJob.ObjectMeta
	case o.StatefulSet != nil:
		return &o.StatefulSet.ObjectMeta
	case o.SandboxTemplate != nil:
		return &o.SandboxTemplate.ObjectMeta
	case o.SandboxWarmPool != nil:
		return &o.SandboxWarmPool.ObjectMeta
	case o.SandboxClaim != nil:
		return &o.SandboxClaim.ObjectMeta
	}
	return &metav1.ObjectMeta{}
}

// Template is what a workload makes its sandboxes from, if it has a Pod's template
// of its own; else nil.
func (o *Object) Template() *corev1.PodTemplateSpec {
	switch {
	case o.Job != nil:
		return &o.Job.Spec.Template
	case o.CronJob != nil:
		return &o.CronJob.Spec.JobTemplate.Spec.Template
	case o.StatefulSet != nil:
		return &o.StatefulSet.Spec.Template
	}
	return nil
}

// ClaimTemplates are the claims that a workload makes for each of its sandboxes.
func (o *Object) ClaimTemplates() []corev1.PersistentVolumeClaim {
	if o.StatefulSet == nil {
		return nil
	}
	return o.StatefulSet.Spec.VolumeClaimTemplates
}

// WorkloadHash is the hash of a workload's spec with its defaults, as SpecHash is
// of a sandbox's.
func (o *Object) WorkloadHash() string {
	switch {
	case o.Job != nil:
		return hashOf(&o.Job.Spec)
	case o.CronJob != nil:
		return hashOf(&o.CronJob.Spec)
	case o.StatefulSet != nil:
		return hashOf(&o.StatefulSet.Spec)
	case o.SandboxWarmPool != nil:
		return hashOf(&o.SandboxWarmPool.Spec)
	case o.SandboxClaim != nil:
		return hashOf(&o.SandboxClaim.Spec)
	}
	return ""
}

// TemplateHash is the hash of a Pod's template: equal for two that make the same
// sandboxes.
func TemplateHash(template *corev1.PodTemplateSpec) string { return hashOf(template) }

func hashOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil { // what was read from JSON can be written as such
		data = []byte(err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// podManifest is a Pod as it is shown, made from a template.
type podManifest struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   podMetadata    `json:"metadata"`
	Spec       corev1.PodSpec `json:"spec"`
}

type podMetadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// PodFromTemplate returns the Pod that a workload's template makes under a name,
// as if a manifest had it: with the labels and annotations given besides the
// template's, and a volume for each of the claims that are made for it. Template and
// claims must have been read by Parse.
func PodFromTemplate(meta metav1.ObjectMeta, template *corev1.PodTemplateSpec, claims ...corev1.PersistentVolumeClaim) (Object, error) {
	labels, annotations := maps.Clone(template.Labels), maps.Clone(template.Annotations)
	pod := podManifest{
		APIVersion: "v1", Kind: "Pod",
		Metadata: podMetadata{
			Name: meta.Name, Namespace: meta.Namespace,
			Labels: withMore(labels, meta.Labels), Annotations: withMore(annotations, meta.Annotations),
		},
		Spec: *template.Spec.DeepCopy(),
	}
	s := podDocument{
		ObjectMeta: metav1.ObjectMeta{
			Name: meta.Name, Namespace: meta.Namespace, Labels: pod.Metadata.Labels, Annotations: pod.Metadata.Annotations,
		},
		Spec: *pod.Spec.DeepCopy(),
	}.sandbox()
	s.TypeMeta = metav1.TypeMeta{APIVersion: APIVersion, Kind: KindSandbox}
	s.Spec.VolumeClaimTemplates = templatesOf(claims)
	setDefaults(s)
	_, fromTemplates := s.splitVolumes()
	pod.Spec.Volumes = append(pod.Spec.Volumes, fromTemplates...)
	manifest, err := json.Marshal(&pod)
	if err != nil {
		return Object{}, fmt.Errorf("make %s/%s from its template: %w", meta.Namespace, meta.Name, err)
	}
	return Object{
		Key:        Key{Kind: KindSandbox, Namespace: meta.Namespace, Name: meta.Name},
		APIVersion: "v1", Kind: "Pod", Manifest: manifest, Sandbox: s,
	}, nil
}

// JobFromTemplate returns the Job that a CronJob makes under a name, as if a
// manifest had it.
func JobFromTemplate(meta metav1.ObjectMeta, template *batchv1.JobTemplateSpec) (Object, error) {
	job := &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: KindJob},
		ObjectMeta: metav1.ObjectMeta{
			Name: meta.Name, Namespace: meta.Namespace,
			Labels:      withMore(maps.Clone(template.Labels), meta.Labels),
			Annotations: withMore(maps.Clone(template.Annotations), meta.Annotations),
		},
		Spec: *template.Spec.DeepCopy(),
	}
	manifest, err := json.Marshal(struct {
		APIVersion string          `json:"apiVersion"`
		Kind       string          `json:"kind"`
		Metadata   podMetadata     `json:"metadata"`
		Spec       batchv1.JobSpec `json:"spec"`
	}{job.APIVersion, job.Kind, podMetadata{job.Name, job.Namespace, job.Labels, job.Annotations}, job.Spec})
	if err != nil {
		return Object{}, fmt.Errorf("make %s/%s from its template: %w", meta.Namespace, meta.Name, err)
	}
	setJobDefaults(&job.Spec)
	return Object{
		Key:        Key{Kind: KindJob, Namespace: meta.Namespace, Name: meta.Name},
		APIVersion: job.APIVersion, Kind: KindJob, Manifest: manifest, Job: job,
	}, nil
}

func withMore(to, from map[string]string) map[string]string {
	if to == nil {
		return maps.Clone(from)
	}
	maps.Copy(to, from)
	return to
}

func decodeJob(data []byte, obj *Object) error {
	obj.Job = &batchv1.Job{}
	return json.Unmarshal(data, obj.Job)
}

func decodeCronJob(data []byte, obj *Object) error {
	obj.CronJob = &batchv1.CronJob{}
	return json.Unmarshal(data, obj.CronJob)
}

func decodeStatefulSet(data []byte, obj *Object) error {
	obj.StatefulSet = &appsv1.StatefulSet{}
	return json.Unmarshal(data, obj.StatefulSet)
}

// ImmutableClaims says what of a StatefulSet's claim templates differs that cannot
// be changed once the set was accepted: all but sizes and metadata. It is empty if
// nothing does.
func ImmutableClaims(was, now *appsv1.StatefulSetSpec) string {
	fixed := func(s *appsv1.StatefulSetSpec) []PersistentVolumeClaimTemplate {
		templates := templatesOf(s.VolumeClaimTemplates)
		for i := range templates {
			t := &templates[i]
			t.ObjectMeta.Labels, t.ObjectMeta.Annotations, t.Spec.Resources = nil, nil, corev1.VolumeResourceRequirements{}
		}
		return templates
	}
	if hashOf(fixed(was)) == hashOf(fixed(now)) {
		return ""
	}
	return "volumeClaimTemplates"
}

// ImmutableJobFields are the fields of a Job's spec that cannot be changed once it
// was accepted.
func ImmutableJobFields() []string { return []string{"completions", "completionMode", "template"} }

// ImmutableChange returns the field of ImmutableJobFields in which two versions of
// a job differ, or "".
func ImmutableChange(was, now *batchv1.JobSpec) string {
	switch {
	case hashOf(was.Completions) != hashOf(now.Completions):
		return "completions"
	case hashOf(was.CompletionMode) != hashOf(now.CompletionMode):
		return "completionMode"
	case hashOf(&was.Template) != hashOf(&now.Template):
		return "template"
	}
	return ""
}
