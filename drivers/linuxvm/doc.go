// Package linuxvm is the Linux sandbox runtime: drivers.Runtime above any
// Hypervisor. It is what the RuntimeService is in Apple's container.
//
// A sandbox enters as a bundle directory with a Configuration in it. Bootstrap
// makes what the machine needs (the writable disk, the initramfs), starts it,
// connects to the agent in it over package channel, and has the agent set the
// guest up. From then on each process is one stream of the agent's, owned by
// one goroutine, its output in a log file of the bundle.
//
// How it is built:
//
//   - state.go holds the states and what moves between them, a pure table.
//   - sandbox.go holds the one mutex. It guards memory only: no call to a guest,
//     a hypervisor or a disk is made under it, so State and Wait always answer.
//   - The end of the machine, wanted or not, passes through one place, end in
//     end.go, which leaves every process with an exit status.
//
// The guest is not trusted: each call to it has a deadline, what it sends is
// bounded, and times are the host's own.
//
// The package knows nothing of manifests, plugins, QEMU or any other hypervisor.
package linuxvm
