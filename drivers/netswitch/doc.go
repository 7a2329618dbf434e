// Package netswitch is a network of sandboxes in one process without privileges.
//
// A Switch implements drivers.Network. Each machine's interface is a port
// (port.go): frames come and go over a Unix socket at which the machine listens,
// so that either end may be started anew. What a port may send is decided from the
// frame alone (frame.go): it has one hardware and one IPv4 address, and the switch
// itself answers who has which, so that nothing can be learnt or forged. A frame
// for another port goes into that one's bounded queue; one for the gateway goes
// into a TCP/IP stack in user space (gateway.go), which answers questions for names
// (resolver.go, names.go, upstream.go) and, in mode NAT, ends each connection and
// makes it anew from the host (egress.go), if its policy lets it. Ports of the host
// that are published lead the other way (publish.go).
//
// All that a port sends is taken for hostile: nothing it does holds up another.
// The package knows nothing of hypervisors, manifests or plugins.
package netswitch
