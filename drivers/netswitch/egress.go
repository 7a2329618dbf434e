package netswitch

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// What one sandbox may have under way through the gateway, and what all may have
// that is not answered yet.
const (
	maxConnections = 1024
	maxAssociates  = 512
	maxOpening     = 4096
)

// dialTimeout is how long what is beyond the gateway has to answer.
const dialTimeout = 30 * time.Second

// forward has the gateway make anew, from this host, what sandboxes begin.
func (s *Switch) forward(g *gateway) {
	tcpForwarder := tcp.NewForwarder(g.stack, 0, maxOpening, s.forwardTCP)
	g.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcpForwarder.HandlePacket)
	udpForwarder := udp.NewForwarder(g.stack, s.forwardUDP)
	g.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udpForwarder.HandlePacket)
}

// permit returns the port that has an address, if it may go to another, and the
// context of what it begins.
func (s *Switch) permit(from, to netip.Addr) (context.Context, *port, bool) {
	p := s.fabric.Load().ports[from]
	if p == nil {
		return nil, nil, false
	}
	// First the context, then the rules: a change of these cuts what it has not denied.
	ctx := p.flows.context()
	f := s.fabric.Load()
	if ctx == nil || f.ports[from] != p {
		return nil, nil, false
	}
	if f.config.Mode != drivers.NetworkNAT || f.subnet.Contains(to) || !s.beyond(to) {
		p.denied.Add(1)
		return nil, nil, false
	}
	return ctx, p, true
}

// forwardTCP has a goroutine of its own.
func (s *Switch) forwardTCP(r *tcp.ForwarderRequest) {
	id := r.ID()
	from, to := netip.AddrFrom4(id.RemoteAddress.As4()), netip.AddrFrom4(id.LocalAddress.As4())
	flows, p, ok := s.permit(from, to)
	if !ok {
		r.Complete(true)
		return
	}
	defer p.connections.Add(-1)
	if p.connections.Add(1) > maxConnections {
		p.denied.Add(1)
		r.Complete(true)
		return
	}
	ctx, cancel := context.WithTimeout(flows, dialTimeout)
	defer cancel()
	var d net.Dialer
	// Refused, or answered, is for the other end to say.
	out, err := d.DialContext(ctx, "tcp4", netip.AddrPortFrom(to, id.LocalPort).String())
	if err != nil {
		r.Complete(true)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		out.Close()
		r.Complete(true)
		return
	}
	r.Complete(false)
	defer context.AfterFunc(flows, ep.Abort)()
	join(flows, out.(*net.TCPConn), gonet.NewTCPConn(&wq, ep)) //nolint:forcetypeassert // what tcp4 makes
}

// forwardUDP is called while the stack handles a packet: it must not wait.
func (s *Switch) forwardUDP(r *udp.ForwarderRequest) {
	id := r.ID()
	from, to := netip.AddrFrom4(id.RemoteAddress.As4()), netip.AddrFrom4(id.LocalAddress.As4())
	flows, p, ok := s.permit(from, to)
	if !ok {
		return
	}
	if p.associates.Add(1) > maxAssociates {
		p.associates.Add(-1)
		p.denied.Add(1)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		p.associates.Add(-1)
		return
	}
	in := gonet.NewUDPConn(&wq, ep)
	go func() {
		defer p.associates.Add(-1)
		out, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, id.LocalPort)))
		if err != nil {
			in.Close()
			return
		}
		relay(flows, in, out)
	}()
}

// beyond reports whether an address is one of the world's: not this host's own, and
// none with a meaning on the link alone.
func beyond(to netip.Addr) bool {
	if !to.IsGlobalUnicast() || to.IsLoopback() || to.IsLinkLocalUnicast() ||
		thisNetwork.Contains(to) || reserved.Contains(to) {
		return false
	}
	return !own.has(to)
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	reserved    = netip.MustParsePrefix("240.0.0.0/4")
)

// hostAddresses are this host's own, looked at again when they are old.
type hostAddresses struct {
	mu   sync.Mutex
	at   time.Time
	have map[netip.Addr]bool
}

const hostAddressesAge = 5 * time.Second

// own is of the one host that there is.
var own hostAddresses

// has reports whether the host has an address. It may err on the safe side: when
// that cannot be found out, it has.
func (h *hostAddresses) has(addr netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) > hostAddressesAge {
		list, err := net.InterfaceAddrs()
		if err != nil {
			return true
		}
		h.have = make(map[netip.Addr]bool, len(list))
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				h.have[p.Addr().Unmap()] = true
			}
		}
		h.at = time.Now()
	}
	return h.have[addr]
}
