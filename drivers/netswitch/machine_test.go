package netswitch

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// patience is ample on a busy host.
const patience = 30 * time.Second

// machine is a guest's TCP/IP stack behind a socket that is served as QEMU does.
type machine struct {
	t     *testing.T
	stack *stack.Stack
	conn  atomic.Pointer[net.UnixConn]
	// accepted has something in it after a network's connection was taken, which may
	// be later than the network says that it is connected.
	accepted chan struct{}
	// deaf machines do not read until they are healed.
	deaf   atomic.Bool
	healed chan struct{}
}

func newMachine(t *testing.T, e drivers.NetworkEndpoint, gateway netip.Addr) *machine {
	t.Helper()
	mac, err := net.ParseMAC(e.MAC)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: e.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	link := channel.New(1024, 1500+header.EthernetMinimumSize, tcpip.LinkAddress(mac))
	m := &machine{t: t, accepted: make(chan struct{}, 1), healed: make(chan struct{}), stack: stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})}
	if err := m.stack.CreateNIC(1, ethernet.New(link)); err != nil {
		t.Fatal(err)
	}
	if err := m.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(e.Address.As4()), PrefixLen: 24},
	}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	subnet, _ := tcpip.NewSubnet(tcpip.AddrFrom4(netip.PrefixFrom(e.Address, 24).Masked().Addr().As4()), tcpip.MaskFrom("\xff\xff\xff\x00"))
	m.stack.SetRouteTable([]tcpip.Route{
		{Destination: subnet, NIC: 1},
		{Destination: header.IPv4EmptySubnet, Gateway: tcpip.AddrFrom4(gateway.As4()), NIC: 1},
	})
	ctx, cancel := context.WithCancel(context.Background())
	go m.serve(l, link)
	go func() {
		for {
			pkt := link.ReadContext(ctx)
			if pkt == nil {
				return
			}
			m.send(pkt.ToView().AsSlice())
			pkt.DecRef()
		}
	}()
	t.Cleanup(func() {
		cancel()
		l.Close()
		if c := m.conn.Load(); c != nil {
			c.Close()
		}
		m.stack.Destroy()
	})
	return m
}

// serve takes one network after the other, as QEMU does.
func (m *machine) serve(l *net.UnixListener, link *channel.Endpoint) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		m.conn.Store(c)
		select {
		case m.accepted <- struct{}{}:
		default:
		}
		for {
			if m.deaf.Load() {
				<-m.healed
			}
			frame, err := readFrame(c)
			if err != nil {
				break
			}
			pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
			link.InjectInbound(0, pkt)
			pkt.DecRef()
		}
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// send sends a frame as it is.
func (m *machine) send(frame []byte) {
	if c := m.conn.Load(); c != nil {
		_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	}
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

func (m *machine) dial(to netip.AddrPort) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	return gonet.DialContextTCP(ctx, m.stack, full(to), ipv4.ProtocolNumber)
}

// echo answers on a port with what it is told, once that has ended, in capitals.
func (m *machine) echo(port uint16) {
	m.t.Helper()
	l, err := gonet.ListenTCP(m.stack, tcpip.FullAddress{NIC: 1, Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echo(c.(*gonet.TCPConn))
		}
	}()
}

func echo(c stream) {
	defer c.Close()
	said, _ := io.ReadAll(c)
	_, _ = c.Write(append([]byte("heard "), said...))
	_ = c.CloseWrite()
}

// says says something, ends its half of the connection, and returns the answer.
func says(t *testing.T, c stream, text string) string {
	t.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// lab is a network with machines on it.
type lab struct {
	t      *testing.T
	dir    string
	config drivers.NetworkConfiguration
	s      *Switch
	// machines are on it from the start.
	machines []*machine
}

func newLab(t *testing.T, mode drivers.NetworkMode, names ...string) (*lab, []*machine) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vzn") //nolint:usetesting // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{t: t, dir: dir, config: drivers.NetworkConfiguration{
		Version: drivers.NetworkConfigurationVersion, Name: "lab", Mode: mode, MTU: 1500,
		Subnet: netip.MustParsePrefix("10.213.0.0/24"), Gateway: netip.MustParseAddr("10.213.0.1"),
	}}
	for i, name := range names {
		e := drivers.NetworkEndpoint{
			ID: "default/" + name, Socket: filepath.Join(dir, name), MAC: hardwareOf(i),
			Address: netip.AddrFrom4([4]byte{10, 213, 0, byte(10 + i)}), Namespace: "default", Names: []string{name},
		}
		l.config.Endpoints = append(l.config.Endpoints, e)
		l.machines = append(l.machines, newMachine(t, e, l.config.Gateway))
	}
	l.start()
	return l, l.machines
}

func hardwareOf(i int) string { return net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}.String() }

// start makes the switch anew.
func (l *lab) start() {
	l.t.Helper()
	s := New(nil)
	l.s = s
	l.t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	l.configure()
	l.await(func(st drivers.NetworkState) bool {
		for _, e := range st.Endpoints {
			if !e.Connected {
				return false
			}
		}
		return true
	})
	for _, m := range l.machines {
		select {
		case <-m.accepted:
		case <-time.After(patience):
			l.t.Fatal("a machine did not take the network's connection")
		}
	}
}

func (l *lab) configure() {
	l.t.Helper()
	data, err := json.Marshal(&l.config)
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, drivers.NetworkConfigurationFile), data, 0o600)
	}
	if err == nil {
		err = l.s.Configure(l.t.Context(), l.dir)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// await waits until the network is as wanted.
func (l *lab) await(ok func(drivers.NetworkState) bool) drivers.NetworkState {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	states, err := l.s.Events(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	var last drivers.NetworkState
	for last = range states {
		if ok(last) {
			return last
		}
	}
	l.t.Fatalf("the network did not become as wanted: %+v", last)
	return last
}

func (l *lab) at(i int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(l.config.Endpoints[i].Address, port)
}
