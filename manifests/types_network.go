package manifests

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AnnotationNetworks names the networks of a sandbox that is written as a Pod or made
// from a template of one: "default", or "default,backend".
const AnnotationNetworks = "vzreconciler.dev/networks"

// DefaultNetwork is there without a manifest.
const DefaultNetwork = "default"

// DefaultMTU is the mtu of a Network that names none.
const DefaultMTU = 1500

// NetworkAttachment attaches the VM to a Network.
type NetworkAttachment struct {
	// name of the Network. "default" is there without a manifest.
	Name string `json:"name"`
	// ipv4Address that the sandbox is to have. Default: a free one, which stays with the sandbox's name.
	IPv4Address string `json:"ipv4Address,omitempty"`
	// macAddress that the interface is to have. Default: one that follows from the names of network and sandbox.
	MACAddress string `json:"macAddress,omitempty"`
	// mtu of the interface, at most the network's, which is the default.
	MTU int32 `json:"mtu,omitempty"`
}

// Network is what sandboxes are attached to. It is the host's: sandboxes of every
// namespace may be on it.
type Network struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is wanted.
	Spec NetworkSpec `json:"spec,omitzero"`
}

// NetworkSpec describes a Network.
type NetworkSpec struct {
	// mode is NAT (sandboxes reach each other, and the world by connections that the host makes for them) or Isolated
	// (only each other). Default: NAT.
	Mode NetworkMode `json:"mode,omitempty"`
	// subnet is the IPv4 subnet. Its first address is the gateway. It cannot be changed. Default: a free one of
	// 10.213.0.0/16.
	Subnet string `json:"subnet,omitempty"`
	// ipv6Subnet is the IPv6 subnet.
	IPv6Subnet string `json:"ipv6Subnet,omitempty"`
	// mtu is the most bytes of an IP packet. It cannot be changed. Default: 1500.
	MTU int32 `json:"mtu,omitempty"`
}

// NetworkMode says where a network leads.
type NetworkMode string

// The modes of a network.
const (
	NetworkModeNAT      NetworkMode = "NAT"
	NetworkModeIsolated NetworkMode = "Isolated"
)

// NetworkStatus is a sandbox's place on a network.
type NetworkStatus struct {
	Name string `json:"name"`
	// ipv4Address with the length of the subnet's prefix.
	IPv4Address string `json:"ipv4Address"`
	MACAddress  string `json:"macAddress"`
	Gateway     string `json:"gateway"`
}
