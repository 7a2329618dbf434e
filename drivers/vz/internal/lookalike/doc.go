// Package vz looks like github.com/Code-Hex/vz/v3, as far as package drivers/vz
// uses that, and runs QEMU instead of Apple's Virtualization framework.
//
// It is a module of its own that nothing requires. `make lookalike` builds the
// driver, its source unchanged, with the tag vzlookalike and a go.mod in which
// this takes the real module's place: so the driver boots real guests on Linux.
// `make check` compares each declaration here with the real one.
//
// It shows that the driver's own code works, and the guest's with a console on
// hvc0 and an agent on vsock. It shows nothing of Apple's framework. Where it is
// known how that behaves, this behaves the same: a machine dies with its process,
// states come over one channel, a connection to a port on which nobody listens is
// reset.
//
// A vsock needs a kernel module on Linux hosts (vhost-vsock). This has the device's
// back end in itself, which QEMU talks to as a vhost-user device: vhostuser.go
// is that protocol, virtqueue.go the shared rings, vsock.go the sockets. A machine
// with such a device QEMU cannot save: see channel.go.
package vz
