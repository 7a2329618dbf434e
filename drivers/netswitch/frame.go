package netswitch

import (
	"encoding/binary"
	"net/netip"
)

// The parts of a frame that are looked at.
const (
	ethernetHeader = 14
	ipv4Header     = 20
	arpLength      = 28
	// maxFrame is the longest frame there can be: an IPv4 packet has at most 65535
	// bytes.
	maxFrame = ethernetHeader + 65535

	typeIPv4 = 0x0800
	typeARP  = 0x0806

	arpRequest = 1
	arpReply   = 2

	protocolICMP = 1
	protocolTCP  = 6
	protocolUDP  = 17
)

// hardware is an Ethernet address.
type hardware [6]byte

// verdict is what becomes of a frame.
type verdict int

const (
	drop     verdict = iota
	spoofed          // dropped, for it bears another's address
	carry            // to the port that has the address
	ascend           // to the gateway
	resolved         // a question for an address, to be answered at once
)

// plan is the part of a switch's configuration that frames are judged by.
type plan struct {
	subnet  netip.Prefix
	gateway netip.Addr
}

// judge says what becomes of a frame from the port that has these addresses, and
// whom it is for.
func (p plan) judge(frame []byte, mac hardware, addr netip.Addr) (verdict, netip.Addr) {
	if len(frame) < ethernetHeader || len(frame) > maxFrame {
		return drop, netip.Addr{}
	}
	if hardware(frame[6:12]) != mac {
		return spoofed, netip.Addr{}
	}
	switch payload := frame[ethernetHeader:]; binary.BigEndian.Uint16(frame[12:]) {
	case typeARP:
		return judgeARP(payload, mac, addr)
	case typeIPv4:
		return p.judgeIPv4(payload, addr)
	}
	return drop, netip.Addr{}
}

func judgeARP(b []byte, mac hardware, addr netip.Addr) (verdict, netip.Addr) {
	// Ethernet and IPv4 addresses.
	if len(b) < arpLength || binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != typeIPv4 || b[4] != 6 || b[5] != 4 {
		return drop, netip.Addr{}
	}
	sender, target := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	if hardware(b[8:14]) != mac || sender != addr && !sender.IsUnspecified() {
		return spoofed, netip.Addr{}
	}
	// What a port announces is known already.
	if binary.BigEndian.Uint16(b[6:]) != arpRequest || target == addr {
		return drop, netip.Addr{}
	}
	return resolved, target
}

func (p plan) judgeIPv4(b []byte, addr netip.Addr) (verdict, netip.Addr) {
	if len(b) < ipv4Header || b[0]>>4 != 4 {
		return drop, netip.Addr{}
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < ipv4Header || total < header || total > len(b) {
		return drop, netip.Addr{}
	}
	from, to := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if from != addr {
		return spoofed, netip.Addr{}
	}
	switch {
	case to == p.gateway:
		return ascend, to
	case p.subnet.Contains(to):
		return carry, to
	case to.IsMulticast() || to.IsUnspecified() || to == broadcast:
		return drop, netip.Addr{}
	}
	// The gateway cannot tell whether what is beyond it answers an echo.
	if b[9] != protocolTCP && b[9] != protocolUDP {
		return drop, netip.Addr{}
	}
	return ascend, to
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// answerARP returns the answer to a question for an address: the hardware address
// that has it.
func answerARP(request []byte, has hardware) []byte {
	asked := request[ethernetHeader:]
	b := make([]byte, ethernetHeader+arpLength)
	copy(b, request[6:12])
	copy(b[6:], has[:])
	binary.BigEndian.PutUint16(b[12:], typeARP)
	a := b[ethernetHeader:]
	copy(a, asked[:6])
	binary.BigEndian.PutUint16(a[6:], arpReply)
	copy(a[8:], has[:])
	copy(a[14:], asked[24:28])
	copy(a[18:], asked[8:18])
	return b
}

// wrap puts an Ethernet header before an IPv4 packet. b has room for it.
func wrap(b []byte, to, from hardware) {
	copy(b, to[:])
	copy(b[6:], from[:])
	binary.BigEndian.PutUint16(b[12:], typeIPv4)
}
