package manifests

import (
	"encoding/json"
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A fieldUse says what becomes of a field. Every field of every type that a
// document may hold has one: nothing is ignored silently.
type fieldUse struct {
	class fieldClass
	// note says why, for people.
	note string
}

type fieldClass int

const (
	// undecided is the use of a field that nobody has thought about: a new
	// release of Kubernetes' types may bring one. It is refused, and a test fails.
	undecided fieldClass = iota
	supported
	// notYet is refused: later work implements it.
	notYet
	// harmless is accepted with a warning, and has no effect.
	harmless
	// meaningless is refused: there is nothing here that it could mean.
	meaningless
)

// limited is a supported field of which not all is.
func limited(note string) fieldUse { return fieldUse{supported, note} }

// noEffect is a harmless field.
func noEffect(note string) fieldUse { return fieldUse{harmless, note} }

// noMeaning is a meaningless field.
func noMeaning(note string) fieldUse { return fieldUse{meaningless, note} }

// uses returns the function that knows the fields of a struct type. Types below
// a harmless or refused field have none: they are only checked for their form.
func uses(t reflect.Type) func(name string) fieldUse {
	switch t {
	case reflect.TypeFor[metav1.ObjectMeta]():
		return objectMetaField
	case reflect.TypeFor[corev1.PodSpec]():
		return podField
	case reflect.TypeFor[corev1.PodSecurityContext]():
		return podSecurityField
	case reflect.TypeFor[corev1.Container]():
		return containerField
	case reflect.TypeFor[corev1.SecurityContext]():
		return containerSecurityField
	case reflect.TypeFor[corev1.ContainerPort]():
		return portField
	case reflect.TypeFor[corev1.ResourceRequirements]():
		return resourcesField
	case reflect.TypeFor[corev1.EnvVarSource]():
		return envSourceField
	case reflect.TypeFor[corev1.HTTPGetAction](), reflect.TypeFor[corev1.TCPSocketAction]():
		return probeTargetField
	case reflect.TypeFor[corev1.VolumeMount]():
		return mountField
	case reflect.TypeFor[corev1.VolumeSource]():
		return volumeField
	case reflect.TypeFor[corev1.EmptyDirVolumeSource]():
		return emptyDirField
	case reflect.TypeFor[corev1.ConfigMapVolumeSource](),
		reflect.TypeFor[corev1.SecretVolumeSource](),
		reflect.TypeFor[corev1.ProjectedVolumeSource](),
		reflect.TypeFor[corev1.ConfigMapProjection](),
		reflect.TypeFor[corev1.SecretProjection](),
		reflect.TypeFor[corev1.KeyToPath]():
		return filesField
	case reflect.TypeFor[corev1.VolumeProjection]():
		return projectionField
	case reflect.TypeFor[corev1.PersistentVolumeClaimSpec]():
		return claimField
	case reflect.TypeFor[corev1.VolumeResourceRequirements]():
		return claimResourcesField
	case reflect.TypeFor[SandboxSpec](),
		reflect.TypeFor[SandboxBlueprint](),
		reflect.TypeFor[agentSandboxLifecycle](),
		reflect.TypeFor[agentSandboxSpec](),
		reflect.TypeFor[agentSandboxAlphaSpec]():
		return sandboxField
	case reflect.TypeFor[sandboxDocument](),
		reflect.TypeFor[podDocument](),
		reflect.TypeFor[agentSandboxDocument](),
		reflect.TypeFor[agentSandboxAlphaDocument](),
		reflect.TypeFor[corev1.ConfigMap](),
		reflect.TypeFor[corev1.Secret](),
		reflect.TypeFor[corev1.PersistentVolumeClaim](),
		reflect.TypeFor[nodev1.RuntimeClass](),
		reflect.TypeFor[Network](),
		reflect.TypeFor[networkDocument](),
		reflect.TypeFor[batchv1.Job](),
		reflect.TypeFor[batchv1.CronJob](),
		reflect.TypeFor[appsv1.StatefulSet](),
		reflect.TypeFor[SandboxTemplate](),
		reflect.TypeFor[SandboxWarmPool](),
		reflect.TypeFor[SandboxClaim]():
		return documentField
	case reflect.TypeFor[SandboxTemplateSpec]():
		return sandboxTemplateField
	case reflect.TypeFor[NetworkSpec]():
		return networkField
	case reflect.TypeFor[batchv1.JobSpec]():
		return jobField
	case reflect.TypeFor[batchv1.CronJobSpec]():
		return cronJobField
	case reflect.TypeFor[appsv1.StatefulSetSpec]():
		return statefulSetField
	case reflect.TypeFor[metav1.TypeMeta](),
		reflect.TypeFor[PodTemplate](),
		reflect.TypeFor[PodMetadata](),
		reflect.TypeFor[PersistentVolumeClaimTemplate](),
		reflect.TypeFor[EmbeddedObjectMetadata](),
		reflect.TypeFor[VM](),
		reflect.TypeFor[appsv1.RollingUpdateStatefulSetStrategy](),
		reflect.TypeFor[appsv1.StatefulSetOrdinals](),
		reflect.TypeFor[appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy](),
		reflect.TypeFor[appsv1.StatefulSetUpdateStrategy](),
		reflect.TypeFor[batchv1.JobTemplateSpec](),
		reflect.TypeFor[corev1.PodTemplateSpec](),
		reflect.TypeFor[metav1.LabelSelector](),
		reflect.TypeFor[metav1.LabelSelectorRequirement](),
		reflect.TypeFor[SandboxWarmPoolSpec](),
		reflect.TypeFor[SandboxTemplateRef](),
		reflect.TypeFor[SandboxWarmPoolUpdateStrategy](),
		reflect.TypeFor[SandboxClaimSpec](),
		reflect.TypeFor[SandboxWarmPoolRef](),
		reflect.TypeFor[SandboxClaimLifecycle](),
		reflect.TypeFor[SandboxClaimEnv](),
		reflect.TypeFor[Kernel](),
		reflect.TypeFor[Dependency](),
		reflect.TypeFor[NetworkAttachment](),
		reflect.TypeFor[corev1.Capabilities](),
		reflect.TypeFor[corev1.ConfigMapEnvSource](),
		reflect.TypeFor[corev1.ConfigMapKeySelector](),
		reflect.TypeFor[corev1.EnvFromSource](),
		reflect.TypeFor[corev1.EnvVar](),
		reflect.TypeFor[corev1.ExecAction](),
		reflect.TypeFor[corev1.GRPCAction](),
		reflect.TypeFor[corev1.HTTPHeader](),
		reflect.TypeFor[corev1.HostAlias](),
		reflect.TypeFor[corev1.HostPathVolumeSource](),
		reflect.TypeFor[corev1.ImageVolumeSource](),
		reflect.TypeFor[corev1.LocalObjectReference](),
		reflect.TypeFor[corev1.ObjectFieldSelector](),
		reflect.TypeFor[corev1.EphemeralVolumeSource](),
		reflect.TypeFor[corev1.PersistentVolumeClaimTemplate](),
		reflect.TypeFor[corev1.PersistentVolumeClaimVolumeSource](),
		reflect.TypeFor[corev1.PodDNSConfig](),
		reflect.TypeFor[corev1.PodDNSConfigOption](),
		reflect.TypeFor[corev1.PodOS](),
		reflect.TypeFor[corev1.Probe](),
		reflect.TypeFor[corev1.ProbeHandler](),
		reflect.TypeFor[corev1.SecretEnvSource](),
		reflect.TypeFor[corev1.SecretKeySelector](),
		reflect.TypeFor[corev1.Sysctl](),
		reflect.TypeFor[corev1.TypedLocalObjectReference](),
		reflect.TypeFor[corev1.Volume]():
		return everyField
	}
	return nil
}

// everyField is for types all of whose fields are supported. Such a type is
// small, and what it gains in a new release is seen by the test that counts.
func everyField(string) fieldUse { return fieldUse{class: supported} }

// A fieldInfo is one field of a struct as its document has it.
type fieldInfo struct {
	name string
	typ  reflect.Type
	// owner is the struct that declares the field: another one than the struct
	// asked about if that is embedded.
	owner reflect.Type
	index []int
	use   fieldUse
}

// A typeCache remembers the fields of the types met in one file: reflection is
// most of the work of checking a small document.
type typeCache map[reflect.Type][]fieldInfo

func (c typeCache) fieldsOf(t reflect.Type) []fieldInfo {
	fields, ok := c[t]
	if !ok {
		fields = fieldsOf(t)
		c[t] = fields
	}
	return fields
}

// fieldsOf lists the fields of a struct type by their JSON names.
func fieldsOf(t reflect.Type) []fieldInfo {
	var fields []fieldInfo
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
			continue
		}
		info := fieldInfo{name: name, typ: f.Type, owner: t, index: []int{i}, use: fieldUse{class: supported}}
		if use := uses(t); use != nil {
			info.use = use(name)
		}
		fields = append(fields, info)
	}
	return fields
}

// isLeaf reports whether a type reads its JSON itself.
func isLeaf(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}
