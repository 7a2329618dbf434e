package netswitch

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the gateway's interface as its stack sees it: one for IP packets, for
// who has which hardware address is no question here.
type link struct {
	mtu    uint32
	output func(frame []byte)

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
}

var _ stack.LinkEndpoint = (*link)(nil)

func (l *link) deliver(pkt *stack.PacketBuffer) {
	l.mu.RLock()
	d := l.dispatcher
	l.mu.RUnlock()
	if d != nil {
		d.DeliverNetworkPacket(header.IPv4ProtocolNumber, pkt)
	}
}

// WritePackets implements stack.LinkWriter. It never waits for a machine.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range packets.AsSlice() {
		frame := make([]byte, ethernetHeader, ethernetHeader+pkt.Size())
		for _, part := range pkt.AsSlices() {
			frame = append(frame, part...)
		}
		if len(frame) >= ethernetHeader+ipv4Header {
			l.output(frame)
		}
	}
	return packets.Len(), nil
}

// Attach implements stack.LinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

// What comes in was carried by a socket of this host: its checksums are not
// checked again.
func (*link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityRXChecksumOffload }

func (l *link) MTU() uint32                           { return l.mtu }
func (*link) SetMTU(uint32)                           {}
func (*link) MaxHeaderLength() uint16                 { return 0 }
func (*link) LinkAddress() tcpip.LinkAddress          { return "" }
func (*link) SetLinkAddress(tcpip.LinkAddress)        {}
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (*link) AddHeader(*stack.PacketBuffer)           {}
func (*link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (*link) Wait()                                   {}
func (*link) Close()                                  {}
func (*link) SetOnCloseAction(func())                 {}
