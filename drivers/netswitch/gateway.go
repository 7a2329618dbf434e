package netswitch

import (
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// nic is the gateway's one interface.
const nic = 1

// What one connection has in memory: gVisor's defaults are for slower networks.
const (
	minBuffer     = 4 << 10
	defaultBuffer = 512 << 10
	maxBuffer     = 4 << 20
)

// gateway is the TCP/IP stack at the gateway's address, and at every address that
// is beyond it.
type gateway struct {
	stack *stack.Stack
	link  *link
	addr  netip.Addr
}

func newGateway(s *Switch, config drivers.NetworkConfiguration) (*gateway, error) {
	g := &gateway{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
		}),
		link: &link{mtu: uint32(config.MTU), output: s.descend}, //nolint:gosec // checked
		addr: config.Gateway,
	}
	if err := g.setUp(config); err != nil {
		g.close()
		return nil, fmt.Errorf("set the gateway up: %s", err)
	}
	s.forward(g)
	if err := s.serveNames(g); err != nil {
		g.close()
		return nil, fmt.Errorf("set the resolver up: %w", err)
	}
	return g, nil
}

func (g *gateway) setUp(config drivers.NetworkConfiguration) tcpip.Error {
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: defaultBuffer, Max: maxBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: defaultBuffer, Max: maxBuffer}
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &receive, &send} {
		if err := g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return err
		}
	}
	if err := g.stack.CreateNIC(nic, g.link); err != nil {
		return err
	}
	address := tcpip.ProtocolAddress{
		Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFrom4(config.Gateway.As4()), PrefixLen: config.Subnet.Bits(),
		},
	}
	if err := g.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
		return err
	}
	// It takes what is for any address, and answers from there.
	if err := g.stack.SetPromiscuousMode(nic, true); err != nil {
		return err
	}
	if err := g.stack.SetSpoofing(nic, true); err != nil {
		return err
	}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return nil
}

// inject hands an IPv4 packet from a port to the stack.
func (g *gateway) inject(packet []byte) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	g.link.deliver(pkt)
	pkt.DecRef()
}

func (g *gateway) close() {
	g.stack.Destroy()
}

func (g *gateway) at(addr netip.Addr, port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(addr.As4()), Port: port}
}

// descend sends an IPv4 packet of the gateway's to the port that has the address.
// frame has room for the header.
func (s *Switch) descend(frame []byte) {
	to := netip.AddrFrom4([4]byte(frame[ethernetHeader+16 : ethernetHeader+20]))
	if p := s.fabric.Load().ports[to]; p != nil {
		wrap(frame, p.mac, gatewayMAC)
		p.deliver(frame)
	}
}
