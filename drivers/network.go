package drivers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// NetworkConfigurationFile is the file in a network's directory that says what
// the network is to be. The reconciler writes it, the network's process reads it.
const NetworkConfigurationFile = "network-configuration.json"

// NetworkConfigurationVersion is the version of NetworkConfiguration written today.
const NetworkConfigurationVersion = 1

// Network drives one network: it carries frames between the machines that are
// attached to it and, if its mode says so, to the world. It is safe for concurrent
// use.
type Network interface {
	// Configure makes the network what NetworkConfigurationFile in dir says, all of
	// it: what that does not name is no more. What stays is not disturbed. It may be
	// repeated; what is wrong with the file is ErrInvalidArgument, and changes nothing.
	Configure(ctx context.Context, dir string) error
	// State tells how the network is now.
	State(ctx context.Context) (NetworkState, error)
	// Events sends the present state and then one after every change that is not of
	// counters alone, until ctx is cancelled or the network is shut down; then the
	// channel is closed. A slow reader misses states in between, never the latest.
	Events(ctx context.Context) (<-chan NetworkState, error)
	// Shutdown ends the network; it is the last call.
	Shutdown(ctx context.Context) error
}

// NetworkMode says where a network leads.
type NetworkMode string

// The modes.
const (
	// NetworkNAT leads out: connections of sandboxes are made anew by the host.
	NetworkNAT NetworkMode = "NAT"
	// NetworkIsolated leads nowhere but to the other sandboxes on it.
	NetworkIsolated NetworkMode = "Isolated"
)

// NetworkConfiguration is what a network is to be.
type NetworkConfiguration struct {
	Version int         `json:"version"`
	Name    string      `json:"name"`
	Mode    NetworkMode `json:"mode"`
	// Subnet is IPv4. Gateway is the address in it that routes, and resolves names.
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway"`
	// MTU is the most bytes of an IP packet.
	MTU       int               `json:"mtu"`
	Endpoints []NetworkEndpoint `json:"endpoints,omitempty"`
	Ports     []PublishedPort   `json:"ports,omitempty"`
}

// NetworkEndpoint is a sandbox's place on a network.
type NetworkEndpoint struct {
	// ID is the sandbox's "namespace/name".
	ID string `json:"id"`
	// Socket is a Unix socket at which the machine's interface listens, whenever
	// there is a machine.
	Socket string `json:"socket"`
	// MAC and Address are the only ones that the sandbox can use.
	MAC     string     `json:"mac"`
	Address netip.Addr `json:"address"`
	// Namespace is where Names are, and where the sandbox's own questions for names
	// are answered from first.
	Namespace string   `json:"namespace"`
	Names     []string `json:"names,omitempty"`
	// Nameservers are asked for the names that are not the network's, instead of
	// the host's.
	Nameservers []string `json:"nameservers,omitempty"`
}

// PublishedPort is a port of the host that leads to one of a sandbox.
type PublishedPort struct {
	// ID of the sandbox.
	ID string `json:"id"`
	// Protocol is "tcp" or "udp".
	Protocol string         `json:"protocol"`
	Host     netip.AddrPort `json:"host"`
	// Port of the sandbox.
	Port uint16 `json:"port"`
}

func (p PublishedPort) String() string {
	return fmt.Sprintf("%s/%s to port %d of %s", p.Host, p.Protocol, p.Port, p.ID)
}

// NetworkState is a network at one moment.
type NetworkState struct {
	Endpoints []EndpointState
	Ports     []PortState
}

// EndpointState is how an endpoint is.
type EndpointState struct {
	ID string
	// Connected says that there is a machine whose frames are carried.
	Connected bool
	// Received and Sent are as the sandbox sees them, since the network's process
	// began. Dropped are frames that were not carried: malformed, with an address
	// that is not the sandbox's, to where none may go, or faster than they are read.
	ReceivedBytes, SentBytes     uint64
	ReceivedFrames, SentFrames   uint64
	SpoofedFrames, DroppedFrames uint64
	// DeniedConnections are those to where the network does not lead.
	DeniedConnections uint64
}

// PortState is how a published port is.
type PortState struct {
	PublishedPort
	// Error says why the port of the host cannot be had; empty if it is. It is
	// tried again and again.
	Error string
}

// NetworkInterface is what a machine has of a network.
type NetworkInterface struct {
	// Network is its name.
	Network string `json:"network"`
	// Socket is where the machine's interface is to listen for the network.
	Socket string `json:"socket"`
	MAC    string `json:"mac"`
	// Address with the length of the subnet's prefix.
	Address netip.Prefix `json:"address"`
	// Gateway resolves names in place of DNS.Nameservers, which it asks in turn. Of
	// several interfaces, the first one's is the way out and the resolver.
	Gateway netip.Addr `json:"gateway"`
	MTU     int        `json:"mtu"`
}

// ReadNetworkConfiguration reads the NetworkConfiguration in a network's directory.
func ReadNetworkConfiguration(dir string) (NetworkConfiguration, error) {
	var c NetworkConfiguration
	data, err := os.ReadFile(filepath.Join(dir, NetworkConfigurationFile)) //nolint:gosec // the network's own directory
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%w: %s: %w", ErrInvalidArgument, NetworkConfigurationFile, err)
	}
	if c.Version != NetworkConfigurationVersion {
		return c, fmt.Errorf("%w: %s has version %d, want %d", ErrInvalidArgument, NetworkConfigurationFile, c.Version, NetworkConfigurationVersion)
	}
	return c, nil
}
