// Package agent is what runs in the guest: PID 1 of the VM, started by the
// kernel from the initramfs, and the server of agentpb.Agent to the host, its
// only client and only master.
//
// Main brings the guest up to the point where the host can reach it (boot.go);
// the server (server.go) then does what the host asks, in terms of a guest with
// containers and processes. A container's init process is made by a second run
// of the same executable (stage.go), which becomes PID 1 of new namespaces,
// mounts what belongs into them and turns into the container's own program; a
// further process needs no such stage: a thread of the agent enters the
// container and forks there (join.go).
//
// The agent knows nothing of the host but the channel. It trusts its requests,
// and nothing that containers control: their files, links, names and output.
package agent
