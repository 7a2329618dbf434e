// Package channel turns the byte channel between host and guest into gRPC.
//
// Underneath is whatever the hypervisor offers: a virtio-serial port, which has
// no notion of a connection, or vsock, which has. A handshake puts both ends in
// step (see handshake.go); yamux then makes streams of the bytes. gRPC runs on
// one of them; on others, which the host opens with DialStream, goes what its calls
// name (see package wire). The host uses Connect, the guest Accept.
//
// The guest is not trusted: the host bounds every message, header and stream it
// takes from there.
package channel
