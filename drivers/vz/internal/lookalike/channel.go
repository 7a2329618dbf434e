package vz

import "sync/atomic"

// How the guest's agent is reached. QEMU can move no machine with a vhost-user vsock,
// so one that is to be saved has its agent on a virtio-serial port instead, whatever
// port of its vsock the driver asks for.
const (
	channelVsock = "vsock"
	channelPort  = "port"
)

// channel is set by the linker: see the Makefile.
var channel = channelVsock

// machines counts those that were started.
var machines atomic.Int64
