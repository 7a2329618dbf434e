package manifests

import (
	"cmp"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Defaults of a Sandbox.
const (
	DefaultKernel             = "default"
	DefaultRosetta            = "Auto"
	DefaultGracePeriodSeconds = 10
	// DefaultProgressDeadlineSeconds is a Deployment's.
	DefaultProgressDeadlineSeconds       = 600
	DefaultDiskBytes               int64 = 8 << 30
	// MemoryOverheadBytes is what the VM's kernel and agent get beside the
	// containers' limits.
	MemoryOverheadBytes int64 = 128 << 20
	// LeastDefaultMemoryBytes is the memory of a VM whose manifest names none and
	// whose containers ask for little.
	LeastDefaultMemoryBytes int64 = 256 << 20
	defaultFileMode         int32 = 0o644
)

func setNamespace(m *metav1.ObjectMeta) {
	if m.Namespace == "" {
		m.Namespace = DefaultNamespace
	}
}

// setDefaults writes out everything that a Sandbox's manifest leaves out.
func setDefaults(s *Sandbox) {
	if s.Spec.OperatingMode == "" {
		s.Spec.OperatingMode = OperatingModeRunning
	}
	if s.Spec.ShutdownPolicy == nil {
		s.Spec.ShutdownPolicy = new(ShutdownPolicyRetain)
	}
	if s.Spec.ProgressDeadlineSeconds == nil {
		s.Spec.ProgressDeadlineSeconds = new(int32(DefaultProgressDeadlineSeconds))
	}
	for i := range s.Spec.DependsOn {
		d := &s.Spec.DependsOn[i]
		d.Kind, d.Condition = cmp.Or(d.Kind, KindSandbox), cmp.Or(d.Condition, DependencyReady)
	}
	pod := &s.Spec.PodTemplate.Spec
	if pod.RestartPolicy == "" {
		pod.RestartPolicy = corev1.RestartPolicyAlways
	}
	if pod.TerminationGracePeriodSeconds == nil {
		pod.TerminationGracePeriodSeconds = new(int64(DefaultGracePeriodSeconds))
	}
	if pod.Hostname == "" {
		pod.Hostname = hostnameFor(s.Name)
	}
	pod.SecurityContext = dropEmpty(pod.SecurityContext)
	for i := range pod.InitContainers {
		setContainerDefaults(&pod.InitContainers[i])
	}
	for i := range pod.Containers {
		setContainerDefaults(&pod.Containers[i])
	}
	addTemplateVolumes(s)
	for i := range pod.Volumes {
		setVolumeDefaults(&pod.Volumes[i])
	}
	setNetworkDefaults(s)
	setVMDefaults(&s.Spec.VM, pod)
}

// addTemplateVolumes gives the sandbox a volume for each of its claim templates,
// as agent-sandbox and StatefulSets do: what is written under its name, too, is
// reported by the validation.
func addTemplateVolumes(s *Sandbox) {
	pod := &s.Spec.PodTemplate.Spec
	for i := range s.Spec.VolumeClaimTemplates {
		t := &s.Spec.VolumeClaimTemplates[i]
		setClaimDefaults(&t.Spec)
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: t.ObjectMeta.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.claimName(s)},
		}})
	}
}

func setClaimDefaults(c *corev1.PersistentVolumeClaimSpec) {
	if c.VolumeMode == nil {
		c.VolumeMode = new(corev1.PersistentVolumeFilesystem)
	}
	for name, q := range c.Resources.Requests {
		normalise(&q, true)
		c.Resources.Requests[name] = q
	}
}

func setContainerDefaults(c *corev1.Container) {
	c.ImagePullPolicy = defaultPullPolicy(c.ImagePullPolicy, c.Image)
	c.SecurityContext = dropEmpty(c.SecurityContext)
	for i := range c.Ports {
		if c.Ports[i].Protocol == "" {
			c.Ports[i].Protocol = corev1.ProtocolTCP
		}
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.FieldRef != nil && from.FieldRef.APIVersion == "" {
			from.FieldRef.APIVersion = "v1"
		}
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		setProbeDefaults(p)
	}
	for name, q := range c.Resources.Limits {
		normalise(&q, name == corev1.ResourceMemory)
		c.Resources.Limits[name] = q
	}
}

func defaultPullPolicy(written corev1.PullPolicy, image string) corev1.PullPolicy {
	if written != "" {
		return written
	}
	if ref, err := ParseImage(image); err == nil && ref.mayChange() {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// setProbeDefaults fills a probe in as an API server does.
func setProbeDefaults(p *corev1.Probe) {
	if p == nil {
		return
	}
	p.TimeoutSeconds = cmp.Or(p.TimeoutSeconds, 1)
	p.PeriodSeconds = cmp.Or(p.PeriodSeconds, 10)
	p.SuccessThreshold = cmp.Or(p.SuccessThreshold, 1)
	p.FailureThreshold = cmp.Or(p.FailureThreshold, 3)
	if get := p.HTTPGet; get != nil {
		get.Path, get.Scheme = cmp.Or(get.Path, "/"), cmp.Or(get.Scheme, corev1.URISchemeHTTP)
	}
	if p.GRPC != nil && p.GRPC.Service == nil {
		p.GRPC.Service = new("")
	}
}

func setVolumeDefaults(v *corev1.Volume) {
	switch {
	case v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil:
		setClaimDefaults(&v.Ephemeral.VolumeClaimTemplate.Spec)
	case v.Image != nil:
		v.Image.PullPolicy = defaultPullPolicy(v.Image.PullPolicy, v.Image.Reference)
	case v.Projected != nil && v.Projected.DefaultMode == nil:
		v.Projected.DefaultMode = new(defaultFileMode)
	case v.HostPath != nil && v.HostPath.Type == nil:
		v.HostPath.Type = new(corev1.HostPathUnset)
	case v.EmptyDir != nil:
		normalise(v.EmptyDir.SizeLimit, true)
	case v.ConfigMap != nil && v.ConfigMap.DefaultMode == nil:
		v.ConfigMap.DefaultMode = new(defaultFileMode)
	case v.Secret != nil && v.Secret.DefaultMode == nil:
		v.Secret.DefaultMode = new(defaultFileMode)
	}
}

func setVMDefaults(vm *VM, pod *corev1.PodSpec) {
	var milliCPUs, memory int64
	for _, c := range pod.Containers {
		milliCPUs = addBounded(milliCPUs, c.Resources.Limits.Cpu().MilliValue())
		memory = addBounded(memory, c.Resources.Limits.Memory().Value())
	}
	for _, c := range pod.InitContainers { // which run alone
		milliCPUs = max(milliCPUs, c.Resources.Limits.Cpu().MilliValue())
		memory = max(memory, c.Resources.Limits.Memory().Value())
	}
	if vm.CPUs == 0 {
		vm.CPUs = int32(max(1, min((milliCPUs+999)/1000, maxCPUs+1)))
	}
	if vm.Memory == nil {
		memory = max(addBounded(memory, MemoryOverheadBytes), LeastDefaultMemoryBytes)
		vm.Memory = resource.NewQuantity(memory, resource.BinarySI)
	}
	if vm.Disk == nil {
		vm.Disk = resource.NewQuantity(DefaultDiskBytes, resource.BinarySI)
	}
	normalise(vm.Memory, true)
	normalise(vm.Disk, true)
	if vm.Kernel.Name == "" {
		vm.Kernel.Name = DefaultKernel
	}
	if vm.Rosetta == "" {
		vm.Rosetta = DefaultRosetta
	}
}

// dropEmpty makes a struct that says nothing one that is not there.
func dropEmpty[T any](v *T) *T {
	if v == nil || reflect.ValueOf(v).Elem().IsZero() {
		return nil
	}
	return v
}

// addBounded adds without overflow: a sum that is absurd is refused later.
func addBounded(a, b int64) int64 {
	const most = 1 << 60
	return min(a, most) + max(0, min(b, most))
}

// normalise gives equal quantities one form: 1024Mi and 1Gi are the same.
func normalise(q *resource.Quantity, bytes bool) {
	switch {
	case q == nil:
	case bytes && q.IsZero():
		*q = *resource.NewQuantity(0, resource.BinarySI)
	case bytes:
		q.Format = resource.BinarySI
	default:
		q.Format = resource.DecimalSI
	}
}

// hostnameFor makes a hostname of an object's name, which may have dots and be
// longer than a label of DNS.
func hostnameFor(name string) string {
	const longest = 63
	name = strings.ReplaceAll(name, ".", "-")
	return strings.TrimRight(name[:min(len(name), longest)], "-")
}
