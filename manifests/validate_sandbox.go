package manifests

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of a VM.
const (
	maxCPUs              = 256
	minMemoryBytes int64 = 64 << 20
	maxMemoryBytes int64 = 1 << 40
	minDiskBytes   int64 = 64 << 20
	maxDiskBytes   int64 = 16 << 40
	maxKernelArgs        = 64
	// maxKernelCommandLine leaves room in the kernel's 2048 bytes for what the
	// runtime itself adds.
	maxKernelCommandLine = 1024
	maxRuntimeData       = 64 << 10
	maxGracePeriod       = 24 * 60 * 60
)

// podPath is where a document of this kind has its PodSpec.
func podPath(k kind) *field.Path {
	switch k.kind {
	case "Pod":
		return field.NewPath("spec")
	case KindJob, KindStatefulSet:
		return field.NewPath("spec", "template", "spec")
	case KindCronJob:
		return field.NewPath("spec", "jobTemplate", "spec", "template", "spec")
	}
	return field.NewPath("spec", "podTemplate", "spec")
}

// validateSandboxKind checks what is particular to a foreign kind, before it is
// turned into ours.
func (r *report) validateSandboxKind(k kind) {
	spec := field.NewPath("spec")
	switch k.apiVersion {
	case "agents.x-k8s.io/v1alpha1":
		if n := r.root.get("spec").get("replicas"); !n.isNull() && n.value != int64(0) && n.value != int64(1) {
			r.errorf(spec.Child("replicas"), "must be 0 (suspended) or 1 (running): a Sandbox is one VM")
		}
	case "agents.x-k8s.io/v1beta1":
		if r.root.get("spec").get("operatingMode").text() == string(OperatingModePaused) {
			r.errorf(spec.Child("operatingMode"), "must be Running or Suspended; Paused needs apiVersion %s", APIVersion)
		}
	}
}

// validateSandbox checks a Sandbox that has its defaults. pod is the path of its
// PodSpec in the document.
func (r *report) validateSandbox(s *Sandbox, pod *field.Path) {
	spec := field.NewPath("spec")
	r.validateMeta(&s.ObjectMeta)
	template := spec.Child("podTemplate", "metadata")
	r.validateLabels(template.Child("labels"), s.Spec.PodTemplate.ObjectMeta.Labels)
	r.validateAnnotations(template.Child("annotations"), s.Spec.PodTemplate.ObjectMeta.Annotations)
	oneOf(r, spec.Child("operatingMode"), s.Spec.OperatingMode,
		OperatingModeRunning, OperatingModeSuspended, OperatingModePaused)
	oneOf(r, spec.Child("shutdownPolicy"), *s.Spec.ShutdownPolicy, ShutdownPolicyRetain, ShutdownPolicyDelete)
	inRange(r, spec.Child("progressDeadlineSeconds"), int64(*s.Spec.ProgressDeadlineSeconds), 1, math.MaxInt32)
	r.validateDependencies(spec.Child("dependsOn"), s)
	annotations := template.Child("annotations")
	if _, ok := s.Spec.PodTemplate.ObjectMeta.Annotations[AnnotationNetworks]; !ok {
		annotations = field.NewPath("metadata", "annotations")
	}
	r.validateNetworks(annotations, s)
	r.validateMachine(s, pod)
}

// validateMachine checks the VM of a sandbox that has its defaults, and the Pod in
// it.
func (r *report) validateMachine(s *Sandbox, pod *field.Path) {
	r.validateVM(field.NewPath("spec", "vm"), &s.Spec.VM)
	if s.Spec.PodTemplate.Spec.Hostname != hostnameFor(s.Name) {
		r.validateHostname(pod.Child("hostname"), s.Spec.PodTemplate.Spec.Hostname)
	}
	if s.Spec.PodTemplate.Spec.Subdomain != "" {
		r.validateHostname(pod.Child("subdomain"), s.Spec.PodTemplate.Spec.Subdomain)
	}
	r.validatePod(pod, s)
	r.validateClaims(s, pod)
	r.validateHostPorts(s, pod)
	r.validateLimits(pod.Child("initContainers"), s.Spec.PodTemplate.Spec.InitContainers, &s.Spec.VM)
	r.validateLimits(pod.Child("containers"), s.Spec.PodTemplate.Spec.Containers, &s.Spec.VM)
}

func (r *report) validateVM(path *field.Path, vm *VM) {
	written := r.root.get("spec").get("vm")
	switch n := written.get("cpus"); {
	case n.isNull() && vm.CPUs > maxCPUs:
		r.errorf(path.Child("cpus"), "the containers' limits add up to more than %d CPUs", maxCPUs)
	case !n.isNull() && n.value == int64(0):
		r.errorf(path.Child("cpus"), "0 is not between 1 and %d", maxCPUs)
	default:
		inRange(r, path.Child("cpus"), int64(vm.CPUs), 1, maxCPUs)
	}
	if written.get("memory").isNull() && vm.Memory.Value() > maxMemoryBytes {
		r.errorf(path.Child("memory"), "the containers' limits and the overhead add up to more than %d bytes", maxMemoryBytes)
	} else {
		r.bytesInRange(path.Child("memory"), vm.Memory, minMemoryBytes, maxMemoryBytes)
	}
	r.bytesInRange(path.Child("disk"), vm.Disk, minDiskBytes, maxDiskBytes)
	oneOf(r, path.Child("rosetta"), vm.Rosetta, "Auto", "Disabled")
	if messages := validation.IsDNS1123Subdomain(vm.Kernel.Name); len(messages) > 0 {
		r.errorf(path.Child("kernel", "name"), "%s", join(messages))
	}
	r.validateKernelArgs(path.Child("kernel", "args"), vm.Kernel.Args)
	if len(vm.RuntimeData) > maxRuntimeData {
		r.errorf(path.Child("runtimeData"), "has %d bytes; %d are the most", len(vm.RuntimeData), maxRuntimeData)
	}
	if n := written.get("runtimeData"); !n.isNull() && n.kind != mappingNode {
		r.errorf(path.Child("runtimeData"), "want a mapping, have %s", n.describe())
	}
}

func (r *report) validateKernelArgs(path *field.Path, args []string) {
	size := 0
	for i, arg := range args {
		size += len(arg) + 1
		if arg == "" || hasSpace(arg) {
			r.errorf(path.Index(i), "must be one word: put each argument in an item of its own")
		}
	}
	if len(args) > maxKernelArgs || size > maxKernelCommandLine {
		r.errorf(path, "%d arguments of %d bytes; %d and %d are the most", len(args), size, maxKernelArgs, maxKernelCommandLine)
	}
}

func hasSpace(s string) bool {
	for _, c := range s {
		if c == ' ' || isControl(c) {
			return true
		}
	}
	return false
}

// bytesInRange checks a size, which must be a whole number of bytes.
func (r *report) bytesInRange(path *field.Path, q *resource.Quantity, least, most int64) {
	low, high := resource.NewQuantity(least, resource.BinarySI), resource.NewQuantity(most, resource.BinarySI)
	if q.Cmp(*low) < 0 || q.Cmp(*high) > 0 {
		r.errorf(path, "%s is not between %s and %s", q, low, high)
	}
}

// validateLimits checks that each container's share fits into the VM.
func (r *report) validateLimits(path *field.Path, containers []corev1.Container, vm *VM) {
	cpus := resource.NewQuantity(int64(vm.CPUs), resource.DecimalSI)
	for i, c := range containers {
		limits := path.Index(i).Child("resources", "limits")
		if q, ok := c.Resources.Limits[corev1.ResourceCPU]; ok && q.Cmp(*cpus) > 0 {
			r.errorf(limits.Key("cpu"), "%s is more than the VM's %s CPUs", &q, cpus)
		}
		if q, ok := c.Resources.Limits[corev1.ResourceMemory]; ok && q.Cmp(*vm.Memory) > 0 {
			r.errorf(limits.Key("memory"), "%s is more than the VM's memory, %s", &q, vm.Memory)
		}
	}
}
