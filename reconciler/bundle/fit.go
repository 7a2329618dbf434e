package bundle

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// ScratchImage is the image of a container whose runtime needs none: Docker's
// name for the empty image.
const ScratchImage = "scratch"

// DefaultRuntime is the runtime of sandboxes that name none, on a host whose
// daemon was told no other.
func DefaultRuntime() string {
	if runtime.GOOS == "darwin" {
		return "vz"
	}
	return "qemu"
}

// Needs is what has to be ready before a sandbox of a runtime is bootstrapped.
type Needs struct {
	// Image is the containers' images, unpacked.
	Image bool
	// Kernel is a kernel and the guest agent.
	Kernel bool
}

// A Misfit is something that a sandbox asks for and its runtime cannot give.
type Misfit struct {
	// Field is its path in a Sandbox manifest of ours, as "spec.vm.runtimeData.x".
	Field string
	// Name says that the field's name is wrong, rather than its value.
	Name bool
	// Message says why, and what to do, without the field.
	Message string
}

func (m Misfit) Error() string { return m.Field + ": " + m.Message }

// Asks reports whether a sandbox asks for anything that not every runtime has:
// only then is there something for Misfits to find.
func Asks(s *manifests.Sandbox) bool {
	return len(s.Spec.VM.RuntimeData) > 0 || len(asked(s)) > 0
}

type wish struct {
	capability, field, what string
}

// asked returns the capabilities that a sandbox asks for.
func asked(s *manifests.Sandbox) []wish {
	const pod = "spec.podTemplate.spec"
	var wishes []wish
	if s.Spec.OperatingMode == manifests.OperatingModePaused {
		wishes = append(wishes, wish{drivers.CapabilityPause, "spec.operatingMode", "pause a sandbox"})
	}
	if s.Spec.VM.NestedVirtualization {
		wishes = append(wishes, wish{drivers.CapabilityNestedVirtualization, "spec.vm.nestedVirtualization", "let a guest run VMs of its own"})
	}
	if len(s.Spec.Networks) > 0 {
		wishes = append(wishes, wish{drivers.CapabilityNetworks, "spec.networks", "attach a sandbox to a network"})
	}
	switch spec := s.Spec.PodTemplate.Spec; {
	case len(spec.Containers) > 1:
		wishes = append(wishes, wish{drivers.CapabilityContainers, pod + ".containers[1]", "run more than one container in a sandbox"})
	case len(spec.InitContainers) > 0:
		wishes = append(wishes, wish{drivers.CapabilityContainers, pod + ".initContainers", "run more than one container in a sandbox"})
	}
	for i, c := range s.Spec.PodTemplate.Spec.Containers {
		field := fmt.Sprintf("%s.containers[%d]", pod, i)
		if c.Stdin {
			wishes = append(wishes, wish{drivers.CapabilityStdin, field + ".stdin", "keep a stdin open"})
		}
		if c.TTY {
			wishes = append(wishes, wish{drivers.CapabilityTerminal, field + ".tty", "give a container a terminal"})
		}
		wishes = append(wishes, askedByProbes(field, &c)...)
	}
	if len(s.Claims()) > 0 {
		field := pod + ".volumes"
		if len(s.Spec.VolumeClaimTemplates) > 0 {
			field = "spec.volumeClaimTemplates"
		}
		wishes = append(wishes, wish{drivers.CapabilityDiskVolumes, field, "mount volumes that outlive the sandbox"})
	}
	if sc := s.Spec.PodTemplate.Spec.SecurityContext; sc != nil && sc.FSGroup != nil {
		wishes = append(wishes, wish{drivers.CapabilityDiskVolumes, pod + ".securityContext.fsGroup", "give volumes to a group"})
	}
	if i := slices.IndexFunc(s.Spec.PodTemplate.Spec.Volumes, func(v corev1.Volume) bool { return v.HostPath != nil }); i >= 0 {
		wishes = append(wishes, wish{drivers.CapabilityHostPaths, fmt.Sprintf("%s.volumes[%d].hostPath", pod, i), "mount host folders"})
	}
	if len(s.Spec.PodTemplate.Spec.Volumes) > len(s.Claims()) {
		wishes = append(wishes, wish{drivers.CapabilityVolumes, pod + ".volumes", "mount volumes"})
	}
	return wishes
}

// askedByProbes returns what a container's probes need.
func askedByProbes(field string, c *corev1.Container) []wish {
	var wishes []wish
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
	}{
		{"startupProbe", c.StartupProbe}, {"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe},
	} {
		switch {
		case p.probe == nil:
		case p.probe.Exec != nil:
			wishes = append(wishes, wish{drivers.CapabilityExec, field + "." + p.name, "probe a container by a program in it"})
		default:
			wishes = append(wishes, wish{drivers.CapabilityDial, field + "." + p.name, "probe a port of a container"})
		}
	}
	return wishes
}

// NeedMisfits returns what is wrong with the images and the kernel for a runtime
// with these needs: who needs none gets none, and who needs an image needs a real
// one.
func NeedMisfits(s *manifests.Sandbox, runtime string, needs Needs) []Misfit {
	var misfits []Misfit
	if k := s.Spec.VM.Kernel; !needs.Kernel && (len(k.Args) > 0 || k.Name != "" && k.Name != kernels.DefaultName) {
		misfits = append(misfits, Misfit{Field: "spec.vm.kernel", Name: true, Message: fmt.Sprintf("runtime %q boots no kernel", runtime)})
	}
	for i, c := range s.AllContainers() {
		field := fmt.Sprintf("spec.podTemplate.spec.initContainers[%d].image", i)
		if n := len(s.Spec.PodTemplate.Spec.InitContainers); i >= n {
			field = fmt.Sprintf("spec.podTemplate.spec.containers[%d].image", i-n)
		}
		switch {
		case needs.Image && c.Image == ScratchImage:
			misfits = append(misfits, Misfit{Field: field, Message: fmt.Sprintf("runtime %q needs an image with something to run; %q is empty", runtime, ScratchImage)})
		case !needs.Image && c.Image != ScratchImage:
			misfits = append(misfits, Misfit{Field: field, Message: fmt.Sprintf("runtime %q runs no images: say %q", runtime, ScratchImage)})
		}
	}
	return misfits
}

// Misfits returns what a sandbox asks for and a runtime, which says that it is
// info, cannot give.
func Misfits(s *manifests.Sandbox, runtime string, info drivers.Info) []Misfit {
	var misfits []Misfit
	for _, w := range asked(s) {
		if !info.Can(w.capability) {
			misfits = append(misfits, Misfit{Field: w.field, Message: fmt.Sprintf(
				"runtime %q %s cannot %s (it has no capability %q)", runtime, info.Version, w.what, w.capability)})
		}
	}
	return append(misfits, runtimeDataMisfits(s.Spec.VM.RuntimeData, runtime, info)...)
}

const runtimeDataField = "spec.vm.runtimeData"

func runtimeDataMisfits(data json.RawMessage, runtime string, info drivers.Info) []Misfit {
	if len(data) == 0 {
		return nil
	}
	if len(info.RuntimeDataSchema) == 0 {
		return []Misfit{{Field: runtimeDataField, Name: true, Message: fmt.Sprintf("runtime %q %s takes no runtimeData", runtime, info.Version)}}
	}
	faults, err := validateJSON(info.RuntimeDataSchema, data)
	if err != nil {
		return []Misfit{{Field: runtimeDataField, Name: true, Message: fmt.Sprintf("the schema of runtime %q %s cannot be used: %v: tell its author", runtime, info.Version, err)}}
	}
	misfits := make([]Misfit, 0, len(faults))
	for _, f := range faults {
		misfits = append(misfits, Misfit{Field: runtimeDataField + subPath(f.at), Name: f.name, Message: f.message})
	}
	return misfits
}

// subPath returns what follows the field's own path, as manifests.Locate reads it.
func subPath(at []string) string {
	var b strings.Builder
	for _, token := range at {
		if _, err := strconv.Atoi(token); err == nil || strings.ContainsAny(token, ".[]") {
			b.WriteString("[" + token + "]")
		} else {
			b.WriteString("." + token)
		}
	}
	return b.String()
}

// MisfitError joins misfits to one error, nil if there are none. It wraps
// drivers.ErrInvalidArgument: no retry will mend it.
func MisfitError(misfits []Misfit) error {
	if len(misfits) == 0 {
		return nil
	}
	const most = 5
	var words []string
	for _, m := range misfits[:min(most, len(misfits))] {
		words = append(words, m.Error())
	}
	if len(misfits) > most {
		words = append(words, fmt.Sprintf("and %d more", len(misfits)-most))
	}
	return fmt.Errorf("%w: %s", drivers.ErrInvalidArgument, strings.Join(slices.Compact(words), "; "))
}
