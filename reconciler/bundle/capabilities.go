package bundle

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// defaultCapabilities are those that Docker and containerd give a container.
func defaultCapabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
		"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// allCapabilities are Linux's, as of 5.9.
func allCapabilities() []string {
	return append(defaultCapabilities(),
		"CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_BLOCK_SUSPEND", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
		"CAP_DAC_READ_SEARCH", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",
		"CAP_MAC_OVERRIDE", "CAP_NET_ADMIN", "CAP_NET_BROADCAST", "CAP_PERFMON", "CAP_SYSLOG", "CAP_SYS_ADMIN",
		"CAP_SYS_BOOT", "CAP_SYS_MODULE", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO",
		"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_WAKE_ALARM")
}

// capabilities returns a container's bounding set, sorted. As in containerd, ALL
// counts first, then what is added by name, then what is dropped by name.
func capabilities(sc *corev1.SecurityContext) []string {
	var add, drop []string
	if sc != nil && sc.Capabilities != nil {
		add, drop = capabilityNames(sc.Capabilities.Add), capabilityNames(sc.Capabilities.Drop)
	}
	set := defaultCapabilities()
	if slices.Contains(add, "CAP_ALL") {
		set = allCapabilities()
	}
	if slices.Contains(drop, "CAP_ALL") {
		set = []string{}
	}
	for _, name := range add {
		if name != "CAP_ALL" && !slices.Contains(set, name) {
			set = append(set, name)
		}
	}
	set = slices.DeleteFunc(set, func(name string) bool { return slices.Contains(drop, name) })
	slices.Sort(set)
	return set
}

func capabilityNames(capabilities []corev1.Capability) []string {
	var names []string
	for _, c := range capabilities {
		names = append(names, "CAP_"+strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"))
	}
	return names
}
