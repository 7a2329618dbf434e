// Package qemu makes virtual machines with QEMU, for package linuxvm.
//
// A machine is one QEMU process, a child of this one that dies with it. The
// command line is built by a pure function, Args, from a plain description.
// The process is controlled over a socket pair that it inherits (QMP, package
// qmp); the guest's serial console is its standard output; the agent's channel
// is a virtio-serial port behind a Unix socket.
//
// Acceleration "auto" trusts no device file: a machine that opens /dev/kvm may
// still hang in the first real kernel. The first boot on a host therefore
// proves KVM with a throw-away machine, and the verdict is kept for those after
// it (accel.go).
//
// The package knows nothing of containers, bundles or manifests.
package qemu
