package manifests

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// This file makes schema.json. It lives among the tests so that the package
// that everybody links does not carry a generator.

type schemaMaker struct {
	comments map[string]string
	defs     jsonschema.Definitions
}

func newSchemaMaker(t *testing.T) *schemaMaker {
	t.Helper()
	r := &jsonschema.Reflector{}
	if err := r.AddGoComments("github.com/vzreconciler/vzreconciler/manifests", "."); err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	for name, text := range r.CommentMap {
		comments[name[strings.LastIndex(name, "/")+1:]] = strings.Join(strings.Fields(text), " ")
	}
	return &schemaMaker{comments: comments, defs: jsonschema.Definitions{}}
}

// describe is what the types' authors say of a field, in one line.
func (m *schemaMaker) describe(f fieldInfo) string {
	if docs, ok := reflect.TypeAssert[interface{ SwaggerDoc() map[string]string }](reflect.Zero(f.owner)); ok {
		return strings.Join(strings.Fields(docs.SwaggerDoc()[f.name]), " ")
	}
	field := f.owner.Name()
	for own := range f.owner.Fields() {
		if name, _, _ := strings.Cut(own.Tag.Get("json"), ","); name == f.name {
			field += "." + own.Name
		}
	}
	return m.comments["manifests."+field]
}

func (m *schemaMaker) document() *jsonschema.Schema {
	root := &jsonschema.Schema{
		Version:     "https://json-schema.org/draft/2020-12/schema",
		Title:       "A manifest of vzreconciler",
		Description: "One document of a manifest file.",
		Definitions: m.defs,
	}
	for _, k := range kinds() {
		s := m.structure(k.document)
		for name, value := range map[string]string{"apiVersion": k.apiVersion, "kind": k.kind} {
			property, _ := s.Properties.Get(name)
			property.Const = value
		}
		s.Required = append([]string{"apiVersion", "kind", "metadata"}, s.Required...)
		root.OneOf = append(root.OneOf, s)
	}
	return root
}

// structure is the schema of a struct, with the fields that may be written.
func (m *schemaMaker) structure(t reflect.Type) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	for _, f := range fieldsOf(t) {
		switch f.use.class {
		case supported:
			property := m.value(f.typ)
			if isTemplateMeta(f) {
				property = m.templateMeta()
			}
			if property.Ref != "" {
				// A copy of its own, to hold the field's description.
				property = &jsonschema.Schema{Ref: property.Ref}
			}
			property.Description = m.describe(f)
			constrain(property, f)
			s.Properties.Set(f.name, property)
			if isRequired(f) {
				s.Required = append(s.Required, f.name)
			}
		case harmless:
			s.Properties.Set(f.name, &jsonschema.Schema{Description: "Has no effect here: " + f.use.note + ".", Deprecated: true})
		case notYet, meaningless, undecided:
		}
	}
	return s
}

// isTemplateMeta reports the metadata of a template, which needs no name.
func isTemplateMeta(f fieldInfo) bool {
	return f.name == "metadata" && (f.owner == reflect.TypeFor[corev1.PodTemplateSpec]() || f.owner == reflect.TypeFor[batchv1.JobTemplateSpec]())
}

func (m *schemaMaker) templateMeta() *jsonschema.Schema {
	const name = "TemplateMeta"
	if m.defs[name] == nil {
		m.defs[name] = m.structure(reflect.TypeFor[metav1.ObjectMeta]())
		m.defs[name].Required = nil
	}
	return &jsonschema.Schema{Ref: "#/$defs/" + name}
}

func (m *schemaMaker) value(t reflect.Type) *jsonschema.Schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$`},
			{Type: "number"},
		}}
	case reflect.TypeFor[intstr.IntOrString]():
		// A number, a percentage or the name of a port: only Parse knows which.
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "0", Maximum: "65535"},
			{Type: "string", MinLength: new(uint64(1)), MaxLength: new(uint64(15))},
		}}
	case reflect.TypeFor[metav1.Time]():
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return &jsonschema.Schema{Type: "object"}
	case reflect.TypeFor[[]byte]():
		return &jsonschema.Schema{Type: "string", ContentEncoding: "base64", Pattern: `^[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*$`}
	}
	switch t.Kind() {
	case reflect.Struct:
		if m.defs[t.Name()] == nil {
			m.defs[t.Name()] = &jsonschema.Schema{} // a place held against recursion
			m.defs[t.Name()] = m.structure(t)
		}
		return &jsonschema.Schema{Ref: "#/$defs/" + t.Name()}
	case reflect.Map:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: m.value(t.Elem())}
	case reflect.Slice:
		return &jsonschema.Schema{Type: "array", Items: m.value(t.Elem())}
	case reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}
	case reflect.String:
		return &jsonschema.Schema{Type: "string"}
	default:
		return &jsonschema.Schema{Type: "integer"}
	}
}

// isRequired reports whether a document must have a field.
func isRequired(f fieldInfo) bool {
	switch f.owner.Name() + "." + f.name {
	case "Container.image", "ObjectMeta.name", "LocalObjectReference.name", "SecretVolumeSource.secretName",
		"StatefulSetSpec.selector":
		return true
	case "StatefulSetSpec.serviceName":
		return false
	}
	for own := range f.owner.Fields() {
		name, options, _ := strings.Cut(own.Tag.Get("json"), ",")
		if name == f.name {
			return !strings.Contains(options, "omit") && f.typ.Kind() != reflect.Pointer
		}
	}
	return false
}

// constrain adds the bounds of a field that the validation has too.
func constrain(s *jsonschema.Schema, f fieldInfo) {
	enum := func(values ...any) { s.Enum = values }
	between := func(least, most int) {
		s.Minimum, s.Maximum = json.Number(strconv.Itoa(least)), json.Number(strconv.Itoa(most))
	}
	length := func(least, most uint64) { s.MinLength, s.MaxLength = &least, &most }
	switch f.owner.Name() + "." + f.name {
	case "ObjectMeta.name":
		s.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
		length(1, 253)
	case "ObjectMeta.namespace", "Container.name", "Volume.name":
		s.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
		length(1, 63)
	case "Container.image", "LocalObjectReference.name", "SecretVolumeSource.secretName", "EnvVar.name":
		length(1, 4096)
	case "SandboxSpec.operatingMode":
		enum("Running", "Suspended", "Paused")
		s.Default = "Running"
	case "agentSandboxSpec.operatingMode":
		enum("Running", "Suspended")
		s.Default = "Running"
	case "agentSandboxAlphaSpec.replicas":
		between(0, 1)
		s.Default = 1
	case "SandboxSpec.shutdownPolicy", "agentSandboxLifecycle.shutdownPolicy":
		enum("Retain", "Delete")
		s.Default = "Retain"
	case "NetworkSpec.mode":
		enum("NAT", "Isolated")
		s.Default = "NAT"
	case "NetworkSpec.mtu", "NetworkAttachment.mtu":
		between(minMTU, maxMTU)
	case "VM.cpus":
		between(1, maxCPUs)
	case "VM.rosetta":
		enum("Auto", "Disabled")
		s.Default = "Auto"
	case "Kernel.name":
		s.Default = DefaultKernel
	case "PodSpec.restartPolicy":
		enum("Always", "OnFailure", "Never")
		s.Default = "Always"
	case "PodSpec.terminationGracePeriodSeconds":
		between(0, maxGracePeriod)
		s.Default = DefaultGracePeriodSeconds
	case "PodSpec.containers":
		s.MinItems = new(uint64(1))
	case "JobSpec.completionMode":
		enum("NonIndexed", "Indexed")
		s.Default = "NonIndexed"
	case "SandboxTemplateSpec.networkPolicyManagement":
		enum("Unmanaged")
	case "SandboxTemplateSpec.envVarsInjectionPolicy", "SandboxTemplateSpec.volumeClaimTemplatesPolicy":
		enum("Disallowed", "Allowed", "Overrides")
		s.Default = "Disallowed"
	case "SandboxWarmPoolUpdateStrategy.type":
		enum("OnReplenish", "Recreate")
		s.Default = "OnReplenish"
	case "SandboxClaimLifecycle.shutdownPolicy":
		enum("Retain", "Delete", "DeleteForeground")
		s.Default = "Retain"
	case "SandboxTemplateRef.name", "SandboxWarmPoolRef.name", "SandboxClaimEnv.name":
		length(1, 4096)
	case "JobSpec.parallelism", "StatefulSetSpec.replicas", "SandboxWarmPoolSpec.replicas":
		between(0, maxReplicas)
		s.Default = 1
	case "JobSpec.completions":
		between(0, maxCompletions)
	case "JobSpec.backoffLimit":
		between(0, maxSeconds)
		s.Default = defaultBackoffLimit
	case "JobSpec.activeDeadlineSeconds", "JobSpec.ttlSecondsAfterFinished", "CronJobSpec.startingDeadlineSeconds",
		"SandboxClaimLifecycle.ttlSecondsAfterFinished",
		"StatefulSetSpec.minReadySeconds", "RollingUpdateStatefulSetStrategy.partition":
		between(0, maxSeconds)
	case "CronJobSpec.concurrencyPolicy":
		enum("Allow", "Forbid", "Replace")
		s.Default = "Allow"
	case "CronJobSpec.successfulJobsHistoryLimit", "CronJobSpec.failedJobsHistoryLimit", "StatefulSetSpec.revisionHistoryLimit":
		between(0, maxReplicas)
	case "StatefulSetSpec.podManagementPolicy":
		enum("OrderedReady", "Parallel")
		s.Default = "OrderedReady"
	case "StatefulSetUpdateStrategy.type":
		enum("RollingUpdate", "OnDelete")
		s.Default = "RollingUpdate"
	case "SandboxSpec.progressDeadlineSeconds":
		between(1, math.MaxInt32)
		s.Default = DefaultProgressDeadlineSeconds
	case "Dependency.kind":
		enum("Sandbox", "Pod")
		s.Default = KindSandbox
	case "Dependency.condition":
		enum("Started", "Ready", "Completed")
		s.Default = "Ready"
	case "Probe.initialDelaySeconds", "Probe.timeoutSeconds", "Probe.periodSeconds", "Probe.successThreshold", "Probe.failureThreshold":
		between(0, math.MaxInt32)
	case "Probe.terminationGracePeriodSeconds":
		between(1, maxGracePeriod)
	case "GRPCAction.port":
		between(1, 65535)
	case "HTTPGetAction.scheme":
		enum("HTTP", "HTTPS")
		s.Default = "HTTP"
	case "PodOS.name":
		enum("linux")
	case "Container.imagePullPolicy":
		enum("Always", "IfNotPresent", "Never")
	case "ContainerPort.containerPort":
		between(1, 65535)
	case "ContainerPort.protocol":
		enum("TCP", "UDP")
		s.Default = "TCP"
	case "EmptyDirVolumeSource.medium":
		enum("", "Memory")
	case "ConfigMapVolumeSource.defaultMode", "SecretVolumeSource.defaultMode", "KeyToPath.mode":
		between(0, maxFileMode)
	case "VolumeMount.mountPath", "Container.workingDir":
		s.Pattern = "^/"
	case "ResourceRequirements.limits":
		quantity := s.AdditionalProperties
		s.AdditionalProperties, s.Properties = jsonschema.FalseSchema, jsonschema.NewProperties()
		s.Properties.Set("cpu", quantity)
		s.Properties.Set("memory", quantity)
	}
}

func TestSchemaIsUpToDate(t *testing.T) {
	data, err := json.MarshalIndent(newSchemaMaker(t).document(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.json", append(data, '\n'))
}
