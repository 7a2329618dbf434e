package manifests

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (r *report) validateUser(path *field.Path, user, group *int64, nonRoot *bool) {
	if user != nil {
		if messages := validation.IsValidUserID(*user); len(messages) > 0 {
			r.errorf(path.Child("runAsUser"), "%s", join(messages))
		}
		if *user == 0 && nonRoot != nil && *nonRoot {
			r.errorf(path.Child("runAsUser"), "0 is root, and runAsNonRoot is true")
		}
	}
	if group != nil {
		if messages := validation.IsValidGroupID(*group); len(messages) > 0 {
			r.errorf(path.Child("runAsGroup"), "%s", join(messages))
		}
	}
}

func (r *report) validateSecurity(path *field.Path, sc *corev1.SecurityContext) {
	if sc == nil {
		return
	}
	r.validateUser(path, sc.RunAsUser, sc.RunAsGroup, sc.RunAsNonRoot)
	if c := sc.Capabilities; c != nil {
		r.validateCapabilities(path.Child("capabilities", "add"), c.Add)
		r.validateCapabilities(path.Child("capabilities", "drop"), c.Drop)
	}
}

// validateCapabilities checks names as Kubernetes has them, "NET_ADMIN"; "ALL"
// and the prefix CAP_ are accepted.
func (r *report) validateCapabilities(path *field.Path, capabilities []corev1.Capability) {
	atMost(r, path, len(capabilities), 64)
	known := append(capabilityNames(), "ALL")
	for i, c := range capabilities {
		name := strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")
		if !slices.Contains(known, name) {
			r.didYouMean(path.Index(i), Closest(name, known), "there is no capability %q", clip(string(c)))
		}
	}
}

// capabilityNames are Linux's, without CAP_.
func capabilityNames() []string {
	return []string{
		"AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
		"DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
		"LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST",
		"NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT",
		"SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME",
		"SYS_TTY_CONFIG", "WAKE_ALARM",
	}
}
