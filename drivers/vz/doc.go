// Package vz makes virtual machines with Apple's Virtualization framework, for
// package linuxvm.
//
// It has two halves. The pure one builds and is tested everywhere: describe turns
// a machine for any hypervisor into a Description, plain data; machine carries one
// through its life by way of a small interface. The thin one, framework*.go, is all
// that touches github.com/Code-Hex/vz, and so cgo and macOS: it turns a Description
// into the framework's objects, and has no decisions to make. Where it
// cannot be built, Probe says why.
//
// The framework differs from a hypervisor in a process of its own:
//
//   - A virtual machine lives inside the process that made it and dies with it.
//     There is nothing to adopt.
//   - Its calls take no context, and some may never return. Each gets a deadline; a
//     call that is given up goes on by itself and what it yields is dropped.
//   - Its state changes come over one channel, which one goroutine owns.
//
// The agent is reached over vsock. The guest's console is hvc0, at the other end
// of a pipe, and its network devices are at the other end of datagram sockets: see
// joints.
//
// With the build tag vzlookalike, that is built on Linux, against a module
// that looks like the real one and runs QEMU: see internal/lookalike.
//
// The package knows nothing of containers, bundles or manifests.
package vz
