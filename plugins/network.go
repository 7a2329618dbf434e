package plugins

import (
	"context"
	"fmt"
	"net/netip"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/networkpb"
)

// NetworkProtocolVersion is the one version of the network protocol.
const NetworkProtocolVersion = 1

// networkName is what the network service is called in go-plugin's plugin set.
const networkName = "network"

// networkProtocols holds what is spoken in each protocol version. n is nil at the
// launcher's end.
func networkProtocols(n drivers.Network) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{NetworkProtocolVersion: {networkName: &networkPlugin{n: n}}}
}

// networkPlugin is go-plugin's view of a network.
type networkPlugin struct {
	goplugin.NetRPCUnsupportedPlugin

	n drivers.Network
}

func (p *networkPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	networkpb.RegisterNetworkServer(s, &networkServer{n: p.n})
	return nil
}

func (p *networkPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &networkClient{networkpb.NewNetworkClient(conn)}, nil
}

// NetworkInstance is a network in its plugin process.
type NetworkInstance struct {
	drivers.Network
	*served
}

func (i *served) network() *NetworkInstance {
	return &NetworkInstance{&networkClient{networkpb.NewNetworkClient(i.conn)}, i}
}

// Shutdown ends the network and its process: the last call.
func (i *NetworkInstance) Shutdown(ctx context.Context) error {
	if err := i.Network.Shutdown(ctx); err != nil {
		return err
	}
	// The process ends as soon as nobody is connected.
	_ = i.conn.Close()
	return nil
}

// LaunchNetwork is Launch for a network plugin: dir is the network's directory.
func (l *Launcher) LaunchNetwork(ctx context.Context, p *Plugin, dir string) (*NetworkInstance, error) {
	inst, err := l.launch(ctx, p, dir)
	if err != nil {
		return nil, fmt.Errorf("launch %s: %w", p, err)
	}
	return inst.network(), nil
}

// ReattachNetwork is Reattach for a network plugin.
func (l *Launcher) ReattachNetwork(ctx context.Context, dir string) (*NetworkInstance, error) {
	inst, err := l.reattach(ctx, dir, []int{NetworkProtocolVersion})
	if err != nil {
		return nil, err
	}
	return inst.network(), nil
}

// networkServer answers with a network.
type networkServer struct {
	networkpb.UnimplementedNetworkServer

	n drivers.Network
}

func (s *networkServer) Configure(ctx context.Context, m *networkpb.ConfigureRequest) (*networkpb.ConfigureResponse, error) {
	return reply(&networkpb.ConfigureResponse{}, s.n.Configure(ctx, m.GetDir()))
}

func (s *networkServer) State(ctx context.Context, _ *networkpb.StateRequest) (*networkpb.NetworkState, error) {
	st, err := s.n.State(ctx)
	return reply(fromNetworkState(st), err)
}

func (s *networkServer) Events(_ *networkpb.EventsRequest, stream grpc.ServerStreamingServer[networkpb.NetworkState]) error {
	states, err := s.n.Events(stream.Context())
	if err != nil {
		return wire.ToStatus(err)
	}
	for st := range states {
		if err := stream.Send(fromNetworkState(st)); err != nil {
			return err
		}
	}
	return nil
}

func (s *networkServer) Shutdown(ctx context.Context, _ *networkpb.ShutdownRequest) (*networkpb.ShutdownResponse, error) {
	return reply(&networkpb.ShutdownResponse{}, s.n.Shutdown(ctx))
}

// networkClient is the network at the other end of a connection.
type networkClient struct{ rpc networkpb.NetworkClient }

var _ drivers.Network = (*networkClient)(nil)

func (c *networkClient) Configure(ctx context.Context, dir string) error {
	_, err := call(ctx, callDeadline, c.rpc.Configure, &networkpb.ConfigureRequest{Dir: dir})
	return err
}

func (c *networkClient) State(ctx context.Context) (drivers.NetworkState, error) {
	m, err := call(ctx, callDeadline, c.rpc.State, &networkpb.StateRequest{})
	if err != nil {
		return drivers.NetworkState{}, err
	}
	return toNetworkState(m)
}

func (c *networkClient) Events(ctx context.Context) (<-chan drivers.NetworkState, error) {
	stream, err := c.rpc.Events(ctx, &networkpb.EventsRequest{})
	if err != nil {
		return nil, wire.FromStatus(err)
	}
	out := make(chan drivers.NetworkState)
	go func() {
		defer close(out)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			st, err := toNetworkState(m)
			if err != nil {
				return
			}
			select {
			case out <- st:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (c *networkClient) Shutdown(ctx context.Context) error {
	_, err := call(ctx, callDeadline, c.rpc.Shutdown, &networkpb.ShutdownRequest{})
	return err
}

func fromNetworkState(st drivers.NetworkState) *networkpb.NetworkState {
	m := &networkpb.NetworkState{}
	for _, e := range st.Endpoints {
		m.Endpoints = append(m.Endpoints, &networkpb.EndpointState{
			Id: e.ID, Connected: e.Connected, ReceivedBytes: e.ReceivedBytes, SentBytes: e.SentBytes,
			ReceivedFrames: e.ReceivedFrames, SentFrames: e.SentFrames,
			SpoofedFrames: e.SpoofedFrames, DroppedFrames: e.DroppedFrames, DeniedConnections: e.DeniedConnections,
		})
	}
	for _, p := range st.Ports {
		m.Ports = append(m.Ports, &networkpb.PortState{
			Id: p.ID, Protocol: p.Protocol, Host: p.Host.String(), Port: uint32(p.Port), Error: p.Error,
		})
	}
	return m
}

func toNetworkState(m *networkpb.NetworkState) (drivers.NetworkState, error) {
	var st drivers.NetworkState
	for _, e := range m.GetEndpoints() {
		st.Endpoints = append(st.Endpoints, drivers.EndpointState{
			ID: e.GetId(), Connected: e.GetConnected(), ReceivedBytes: e.GetReceivedBytes(), SentBytes: e.GetSentBytes(),
			ReceivedFrames: e.GetReceivedFrames(), SentFrames: e.GetSentFrames(),
			SpoofedFrames: e.GetSpoofedFrames(), DroppedFrames: e.GetDroppedFrames(), DeniedConnections: e.GetDeniedConnections(),
		})
	}
	for _, p := range m.GetPorts() {
		host, err := netip.ParseAddrPort(p.GetHost())
		if err != nil || p.GetPort() > 65535 {
			return st, fmt.Errorf("%w: a published port %q", drivers.ErrInvalidArgument, p.GetHost())
		}
		st.Ports = append(st.Ports, drivers.PortState{
			PublishedPort: drivers.PublishedPort{ID: p.GetId(), Protocol: p.GetProtocol(), Host: host, Port: uint16(p.GetPort())}, //nolint:gosec // checked
			Error:         p.GetError(),
		})
	}
	return st, nil
}
