package qemu

// NewArm64 returns a Hypervisor that takes this host for one of arm64: emulation
// does not care.
func NewArm64() *Hypervisor {
	h := New(Options{Binary: "qemu-system-aarch64"})
	h.host.arch = "arm64"
	return h
}
