// Package drivers is the contract between whoever wants a sandbox and whoever
// can make one.
//
// A sandbox is one lightweight Linux VM and the containers in it. Runtime is
// the set of things that can be done to a single sandbox; Configuration is the
// plain description a Runtime is bootstrapped from. Network is what can be done to one
// network that sandboxes are attached to. The folders below this one implement the
// contract: linuxvm above any hypervisor, netswitch for networks, fake in memory.
//
// A driver knows nothing of manifests, plugins or the reconciler: data enters
// as a Configuration on disk and leaves as a Snapshot, exit statuses, streams
// and events.
package drivers
