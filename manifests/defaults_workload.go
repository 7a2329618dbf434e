package manifests

import (
	"cmp"
	"path/filepath"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Defaults of the workloads, which are Kubernetes'.
const (
	defaultBackoffLimit          int32 = 6
	defaultSuccessfulJobsHistory int32 = 3
	defaultFailedJobsHistory     int32 = 1
	defaultRevisionHistory       int32 = 10
)

// finishWorkload normalises a decoded object whose kind makes sandboxes, as finish
// does a sandbox. Its template is checked as the Pods that it will make.
func (r *report) finishWorkload(k kind, obj *Object) {
	spec := field.NewPath("spec")
	meta := obj.Meta()
	switch {
	case obj.Job != nil:
		r.types.dropHarmless(obj.Job)
		setJobDefaults(&obj.Job.Spec)
		r.finishTemplate(spec.Child("template"), &obj.Job.Spec.Template)
		r.validateJob(spec, obj.Job.Name, &obj.Job.Spec)
	case obj.CronJob != nil:
		r.types.dropHarmless(obj.CronJob)
		setCronJobDefaults(&obj.CronJob.Spec)
		template := &obj.CronJob.Spec.JobTemplate
		at := spec.Child("jobTemplate")
		r.finishTemplateMeta(at.Child("metadata"), template.Labels, template.Annotations)
		r.finishTemplate(at.Child("spec", "template"), &template.Spec.Template)
		r.validateCronJob(spec, obj.CronJob)
	case obj.StatefulSet != nil:
		r.types.dropHarmless(obj.StatefulSet)
		setStatefulSetDefaults(&obj.StatefulSet.Spec)
		r.finishTemplate(spec.Child("template"), &obj.StatefulSet.Spec.Template, obj.StatefulSet.Spec.VolumeClaimTemplates...)
		r.validateStatefulSet(spec, obj.StatefulSet)
	case obj.SandboxWarmPool != nil:
		r.types.dropHarmless(obj.SandboxWarmPool)
		r.finishSandboxWarmPool(&obj.SandboxWarmPool.Spec)
	case obj.SandboxClaim != nil:
		r.types.dropHarmless(obj.SandboxClaim)
		r.finishSandboxClaim(&obj.SandboxClaim.Spec)
	}
	setNamespace(meta)
	obj.Key = Key{Kind: k.kind, Namespace: meta.Namespace, Name: meta.Name}
	r.validateMeta(meta)
}

// finishTemplate resolves the paths of a Pod's template and checks what it makes,
// with the claims that each gets.
func (r *report) finishTemplate(path *field.Path, template *corev1.PodTemplateSpec, claims ...corev1.PersistentVolumeClaim) {
	if dir := filepath.Dir(r.file); filepath.IsAbs(dir) {
		resolvePathsOf(&template.Spec, dir)
	}
	r.finishTemplateMeta(path.Child("metadata"), template.Labels, template.Annotations)
	s := podDocument{Spec: *template.Spec.DeepCopy()}.sandbox()
	s.Name = "template"
	s.Spec.VolumeClaimTemplates = templatesOf(claims)
	s.Annotations = template.Annotations
	setDefaults(s)
	r.validateNetworks(path.Child("metadata", "annotations"), s)
	r.validateMachine(s, path.Child("spec"))
}

// finishTemplateMeta checks a template's metadata. A name in it has no effect, as
// in Kubernetes, and is told of.
func (r *report) finishTemplateMeta(path *field.Path, labels, annotations map[string]string) {
	r.validateLabels(path.Child("labels"), labels)
	r.validateAnnotations(path.Child("annotations"), annotations)
	for _, name := range []string{"name", "namespace"} {
		at := path.Child(name).String()
		if n := r.locate(path.String()).get(name); !n.isNull() {
			r.warnAt(n, at, "has no effect here: what a template makes is named after its owner, in its namespace")
		}
	}
}

func setJobDefaults(s *batchv1.JobSpec) {
	if s.Completions == nil && s.Parallelism == nil {
		s.Completions = new(int32(1))
	}
	if s.Parallelism == nil {
		s.Parallelism = new(int32(1))
	}
	if s.BackoffLimit == nil {
		s.BackoffLimit = new(defaultBackoffLimit)
	}
	if s.CompletionMode == nil || *s.CompletionMode == "" {
		s.CompletionMode = new(batchv1.NonIndexedCompletion)
	}
	if s.Suspend == nil {
		s.Suspend = new(false)
	}
}

func setCronJobDefaults(s *batchv1.CronJobSpec) {
	if s.ConcurrencyPolicy == "" {
		s.ConcurrencyPolicy = batchv1.AllowConcurrent
	}
	if s.Suspend == nil {
		s.Suspend = new(false)
	}
	if s.SuccessfulJobsHistoryLimit == nil {
		s.SuccessfulJobsHistoryLimit = new(defaultSuccessfulJobsHistory)
	}
	if s.FailedJobsHistoryLimit == nil {
		s.FailedJobsHistoryLimit = new(defaultFailedJobsHistory)
	}
	setJobDefaults(&s.JobTemplate.Spec)
}

func setStatefulSetDefaults(s *appsv1.StatefulSetSpec) {
	if s.Replicas == nil {
		s.Replicas = new(int32(1))
	}
	if s.PodManagementPolicy == "" {
		s.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	if s.RevisionHistoryLimit == nil {
		s.RevisionHistoryLimit = new(defaultRevisionHistory)
	}
	for i := range s.VolumeClaimTemplates {
		setClaimDefaults(&s.VolumeClaimTemplates[i].Spec)
	}
	if s.PersistentVolumeClaimRetentionPolicy == nil {
		s.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{}
	}
	retention := s.PersistentVolumeClaimRetentionPolicy
	retention.WhenDeleted = cmp.Or(retention.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	retention.WhenScaled = cmp.Or(retention.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	if s.UpdateStrategy.Type == "" {
		s.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
	}
	if s.UpdateStrategy.Type != appsv1.RollingUpdateStatefulSetStrategyType {
		return
	}
	if s.UpdateStrategy.RollingUpdate == nil {
		s.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{}
	}
	u := s.UpdateStrategy.RollingUpdate
	if u.Partition == nil {
		u.Partition = new(int32(0))
	}
	if u.MaxUnavailable == nil {
		u.MaxUnavailable = new(intstr.FromInt32(1))
	}
}
