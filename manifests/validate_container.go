package manifests

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of a container.
const (
	maxArgs      = 4096
	maxArgBytes  = 128 << 10 // Linux's bound of one argument
	maxPorts     = 1024
	maxMounts    = 128
	maxPathBytes = 4096
	// minMemoryLimit is the least in which a process starts at all.
	minMemoryLimit int64 = 4 << 20
)

// validateContainers checks a list of containers. names are those of the lists
// before it, which are added to.
func (r *report) validateContainers(path *field.Path, containers []corev1.Container, names, volumes sets.Set[string]) {
	atMost(r, path, len(containers), maxContainers)
	for i := range containers {
		c, at := &containers[i], path.Index(i)
		switch messages := validation.IsDNS1123Label(c.Name); {
		case c.Name == "":
			r.errorf(at.Child("name"), "required: every container has a name")
		case len(messages) > 0:
			r.errorf(at.Child("name"), "%s", join(messages))
		case names.Has(c.Name):
			r.errorf(at.Child("name"), "another container is named %s too", c.Name)
		}
		names.Insert(c.Name)
		r.validateContainer(at, c, volumes)
	}
}

func (r *report) validateContainer(at *field.Path, c *corev1.Container, volumes sets.Set[string]) {
	r.validateImage(at.Child("image"), c.Image, at.Child("imagePullPolicy"), c.ImagePullPolicy)
	r.validateArgs(at.Child("command"), c.Command)
	if len(c.Command) > 0 && c.Command[0] == "" {
		r.errorf(at.Child("command").Index(0), "required: the program to run")
	}
	r.validateArgs(at.Child("args"), c.Args)
	if c.WorkingDir != "" && !isGuestPath(c.WorkingDir) {
		r.errorf(at.Child("workingDir"), "must be an absolute path")
	}
	r.validatePorts(at.Child("ports"), c.Ports)
	r.validateEnv(at.Child("env"), c.Env)
	r.validateEnvFrom(at.Child("envFrom"), c.EnvFrom)
	r.validateResources(at.Child("resources", "limits"), c.Resources.Limits)
	r.validateSecurity(at.Child("securityContext"), c.SecurityContext)
	r.validateMounts(at.Child("volumeMounts"), c.VolumeMounts, volumes)
	r.validateProbes(at, c)
}

func (r *report) validateImage(at *field.Path, image string, policyAt *field.Path, policy corev1.PullPolicy) {
	if _, err := ParseImage(image); err != nil {
		_, withoutScheme, _ := strings.Cut(image, "://")
		r.didYouMean(at, clip(withoutScheme), "%s", err)
	}
	oneOf(r, policyAt, policy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

func (r *report) validateArgs(at *field.Path, args []string) {
	atMost(r, at, len(args), maxArgs)
	for i, a := range args {
		if len(a) > maxArgBytes {
			r.errorf(at.Index(i), "has %d bytes; %d are the most", len(a), maxArgBytes)
		}
		if strings.ContainsRune(a, 0) {
			r.errorf(at.Index(i), "must not hold a NUL byte")
		}
	}
}

// isGuestPath reports whether a path is one of the guest's: absolute, bounded,
// and not leaving anything by "..".
func isGuestPath(p string) bool {
	return path.IsAbs(p) && len(p) <= maxPathBytes && !hasControl(p) && !hasDotDot(p)
}

func hasDotDot(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

func (r *report) validatePorts(path *field.Path, ports []corev1.ContainerPort) {
	atMost(r, path, len(ports), maxPorts)
	names := sets.New[string]()
	for i, p := range ports {
		at := path.Index(i)
		if messages := validation.IsValidPortNum(int(p.ContainerPort)); len(messages) > 0 {
			r.errorf(at.Child("containerPort"), "%s", join(messages))
		}
		oneOf(r, at.Child("protocol"), p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP)
		if p.Name == "" {
			continue
		}
		if messages := validation.IsValidPortName(p.Name); len(messages) > 0 {
			r.errorf(at.Child("name"), "%s", join(messages))
		} else if names.Has(p.Name) {
			r.errorf(at.Child("name"), "another port is named %s too", p.Name)
		}
		names.Insert(p.Name)
	}
}

func (r *report) validateResources(path *field.Path, limits corev1.ResourceList) {
	for name, q := range limits {
		at := keyed(path, string(name))
		switch name {
		case corev1.ResourceCPU:
			least, most := resource.MustParse("1m"), resource.NewQuantity(maxCPUs, resource.DecimalSI)
			if q.Cmp(least) < 0 || q.Cmp(*most) > 0 {
				r.errorf(at, "%s is not between 1m and %d", &q, maxCPUs)
			}
		case corev1.ResourceMemory:
			r.bytesInRange(at, &q, minMemoryLimit, maxMemoryBytes)
		case corev1.ResourceEphemeralStorage:
			r.warnAt(r.locate(pathString(at)), pathString(at), "has no effect here: vm.disk bounds what all containers write")
		default:
			r.didYouMean(at, Closest(string(name), []string{"cpu", "memory"}), "only cpu and memory can be limited")
		}
	}
}

func (r *report) validateMounts(path *field.Path, mounts []corev1.VolumeMount, volumes sets.Set[string]) {
	atMost(r, path, len(mounts), maxMounts)
	paths := sets.New[string]()
	for i, m := range mounts {
		at := path.Index(i)
		if !volumes.Has(m.Name) {
			r.didYouMean(at.Child("name"), Closest(m.Name, sets.List(volumes)), "there is no volume %q", clip(m.Name))
		}
		r.validateMountPath(at.Child("mountPath"), m.MountPath, paths)
		if p := m.SubPath; p != "" && (strings.HasPrefix(p, "/") || len(p) > maxPathBytes || hasDotDot(p) || hasControl(p)) {
			r.errorf(at.Child("subPath"), `must be a relative path without ".."`)
		}
	}
}

func (r *report) validateMountPath(at *field.Path, mountPath string, seen sets.Set[string]) {
	clean := path.Clean(mountPath)
	switch {
	case mountPath == "":
		r.errorf(at, "required: where the volume is mounted")
	case !isGuestPath(mountPath) || strings.Contains(mountPath, ":"):
		r.errorf(at, `must be an absolute path without ".." and ":"`)
	case clean == "/":
		r.errorf(at, "must not be the container's root")
	case isUnder(clean, "/proc") || isUnder(clean, "/sys") || clean == "/dev":
		r.errorf(at, "%s is the kernel's", clean)
	case seen.Has(clean):
		r.errorf(at, "another volume is mounted at %s too", clean)
	}
	seen.Insert(clean)
}

func isUnder(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}
