package netswitch

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestSandboxesReachEachOtherAndKeepTheirPlaceWhenTheSwitchIsStartedAnew(t *testing.T) {
	l, m := newLab(t, drivers.NetworkIsolated, "a", "b")
	m[0].echo(80)
	for _, round := range []string{"one", "two"} {
		c, err := m[1].dial(l.at(0, 80))
		if err != nil {
			t.Fatal(err)
		}
		if got := says(t, c, round); got != "heard "+round {
			t.Errorf("got %q", got)
		}
		if err := l.s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.start()
	}
}

func TestASandboxThatDoesNotReadHoldsUpNobody(t *testing.T) {
	l, m := newLab(t, drivers.NetworkIsolated, "a", "b", "deaf")
	m[0].echo(80)
	m[2].deaf.Store(true)
	defer close(m[2].healed)
	to := full(l.at(2, 9))
	flood, err := gonet.DialUDP(m[1].stack, nil, &to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	datagram := make([]byte, 1400)
	for begin := time.Now(); ; {
		_, _ = flood.Write(datagram)
		st, _ := l.s.State(t.Context())
		if st.Endpoints[2].DroppedFrames > 0 {
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("nothing was ever dropped: %+v", st)
		}
	}
	c, err := m[1].dial(l.at(0, 80))
	if err != nil {
		t.Fatal(err)
	}
	if got := says(t, c, "still there"); got != "heard still there" {
		t.Errorf("got %q", got)
	}
}

func TestWhatBearsAnothersAddressIsCountedAndGoesNowhere(t *testing.T) {
	l, m := newLab(t, drivers.NetworkNAT, "a", "b")
	mac := func(i int) []byte { h, _ := net.ParseMAC(hardwareOf(i)); return h }
	ip := func(from, to netip.Addr) []byte {
		b := make([]byte, 28)
		b[0], b[9], b[8] = 0x45, protocolUDP, 64
		binary.BigEndian.PutUint16(b[2:], 28)
		copy(b[12:], from.AsSlice())
		copy(b[16:], to.AsSlice())
		return b
	}
	frame := func(to, from []byte, typ uint16, payload []byte) []byte {
		return append(binary.BigEndian.AppendUint16(append(append([]byte(nil), to...), from...), typ), payload...)
	}
	a, b := l.at(0, 0).Addr(), l.at(1, 0).Addr()
	m[1].send(frame(mac(0), mac(0), typeIPv4, ip(a, b)))                                       // a's hardware address
	m[1].send(frame(mac(0), mac(1), typeIPv4, ip(a, b)))                                       // a's address
	m[1].send(frame(gatewayMAC[:], mac(1), typeIPv4, ip(l.config.Gateway, a)))                 // the gateway's
	m[1].send(frame([]byte{255, 255, 255, 255, 255, 255}, mac(1), typeARP, arpFor(mac(1), a))) // claims a's
	m[1].send([]byte{1, 2, 3})
	m[1].send(nil)
	st := l.awaitCounts(func(st drivers.NetworkState) bool {
		return st.Endpoints[1].SpoofedFrames+st.Endpoints[1].DroppedFrames >= 6
	})
	if e := st.Endpoints[1]; e.SpoofedFrames != 4 || e.DroppedFrames != 2 {
		t.Errorf("%+v, want 4 spoofed and 2 dropped", e)
	}
	if e := st.Endpoints[0]; e.ReceivedFrames != 0 {
		t.Errorf("the neighbour was sent %d frames", e.ReceivedFrames)
	}
}

// arpFor is a question from someone who says that it has the address.
func arpFor(mac []byte, addr netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	b = append(b, mac...)
	b = append(b, addr.AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0, 10, 213, 0, 1)
	return b
}

// awaitCounts is await where counters alone change.
func (l *lab) awaitCounts(ok func(drivers.NetworkState) bool) drivers.NetworkState {
	l.t.Helper()
	for begin := time.Now(); ; pause(l.t.Context(), time.Millisecond) {
		st, _ := l.s.State(l.t.Context())
		if ok(st) {
			return st
		}
		if time.Since(begin) > patience {
			l.t.Fatalf("the network did not become as wanted: %+v", st)
		}
	}
}

func listenHere(t *testing.T, at string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(t.Context(), "tcp4", at)
}

func dialHere(t *testing.T, network, to string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(t.Context(), network, to)
}

func TestTheHostIsNotReached(t *testing.T) {
	host, err := listenHere(t, "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	port := host.Addr().(*net.TCPAddr).AddrPort().Port()
	l, m := newLab(t, drivers.NetworkNAT, "a")
	targets := []netip.AddrPort{netip.AddrPortFrom(l.config.Gateway, port), netip.MustParseAddrPort("169.254.169.254:80")}
	if own, ok := hostAddress(); ok {
		targets = append(targets, netip.AddrPortFrom(own, port))
	}
	for _, to := range targets {
		if c, err := m[0].dial(to); err == nil {
			c.Close()
			t.Errorf("the sandbox reached %s", to)
		}
	}
	st, _ := l.s.State(t.Context())
	if d := st.Endpoints[0].DeniedConnections; d < uint64(len(targets)) {
		t.Errorf("%d connections were denied, want at least %d", d, len(targets))
	}
}

func TestBeyond(t *testing.T) {
	for addr, want := range map[string]bool{
		"1.1.1.1": true, "192.0.2.7": true, "10.99.99.99": true,
		"127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "0.1.2.3": false, "169.254.169.254": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false,
	} {
		if got := beyond(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t, want %t", addr, got, want)
		}
	}
}

// hostAddress returns an address of this host's that is not its loopback's.
func hostAddress() (netip.Addr, bool) {
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && beyondButOwn(p.Addr()) {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}

func beyondButOwn(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() }

func TestTheWayOut(t *testing.T) {
	own, ok := hostAddress()
	if !ok {
		t.Skip("this host has no address but its loopback's, so nothing can stand for the world")
	}
	world, err := listenHere(t, netip.AddrPortFrom(own, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	go func() {
		for {
			c, err := world.Accept()
			if err != nil {
				return
			}
			go echo(c.(*net.TCPConn))
		}
	}()
	to := world.Addr().(*net.TCPAddr).AddrPort()
	for _, mode := range []drivers.NetworkMode{drivers.NetworkNAT, drivers.NetworkIsolated} {
		l, m := newLab(t, mode, "a")
		l.s.beyond = beyondButOwn
		c, err := m[0].dial(to)
		if mode == drivers.NetworkIsolated {
			if err == nil {
				t.Error("an isolated network has a way out")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := says(t, c, "hello"); got != "heard hello" {
			t.Errorf("got %q", got)
		}
	}
}

func TestWhatIsUnderWayEndsWithTheWayOutAndWithTheMachine(t *testing.T) {
	own, ok := hostAddress()
	if !ok {
		t.Skip("this host has no address but its loopback's, so nothing can stand for the world")
	}
	world, err := listenHere(t, netip.AddrPortFrom(own, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	datagrams, err := net.ListenUDP("udp4", &net.UDPAddr{IP: own.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	l, m := newLab(t, drivers.NetworkNAT, "a", "b")
	l.s.beyond = beyondButOwn
	for _, tt := range []struct {
		name string
		end  func()
		then func()
	}{
		{"Isolated", func() { l.config.Mode = drivers.NetworkIsolated; l.configure() }, func() { l.config.Mode = drivers.NetworkNAT; l.configure() }},
		{"the machine's end", func() { m[0].conn.Load().Close() }, func() { <-m[0].accepted }},
		{"the endpoint's", func() { l.config.Endpoints = l.config.Endpoints[1:]; l.configure() }, func() {}},
	} {
		p := l.s.fabric.Load().ports[l.at(0, 0).Addr()]
		inside, err := m[0].dial(world.Addr().(*net.TCPAddr).AddrPort())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		defer inside.Close()
		outside, err := world.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer outside.Close()
		to := full(datagrams.LocalAddr().(*net.UDPAddr).AddrPort())
		say, err := gonet.DialUDP(m[0].stack, nil, &to, ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		defer say.Close()
		buf := make([]byte, 10)
		for begin := time.Now(); ; { // datagrams may be lost
			_, _ = say.Write([]byte("x"))
			_ = datagrams.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := datagrams.Read(buf); err == nil {
				break
			}
			if time.Since(begin) > patience {
				t.Fatalf("%s: no datagram came", tt.name)
			}
		}
		if p.connections.Load() != 1 || p.associates.Load() != 1 {
			t.Errorf("%s: %d connections and %d associations before", tt.name, p.connections.Load(), p.associates.Load())
		}
		tt.end()
		_ = outside.SetReadDeadline(time.Now().Add(patience))
		if _, err := outside.Read(buf); err == nil || isTimeout(err) {
			t.Errorf("%s: the connection goes on: %v", tt.name, err)
		}
		l.awaitCounts(func(drivers.NetworkState) bool { return p.connections.Load() == 0 && p.associates.Load() == 0 })
		tt.then()
		l.await(func(st drivers.NetworkState) bool { return st.Endpoints[0].Connected })
	}
}

func TestPublishedPortsAreChangedWhileTheyAreUsed(t *testing.T) {
	taken, err := listenHere(t, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l, m := newLab(t, drivers.NetworkNAT, "a")
	m[0].echo(80)
	first := freePort(t)
	second := taken.Addr().(*net.TCPAddr).AddrPort()
	l.config.Ports = []drivers.PublishedPort{{ID: "default/a", Protocol: "tcp", Host: first, Port: 80}}
	l.configure()
	under, err := dialHere(t, "tcp", first.String())
	if err != nil {
		t.Fatal(err)
	}
	l.config.Ports = append(l.config.Ports, drivers.PublishedPort{ID: "default/a", Protocol: "tcp", Host: second, Port: 80})
	l.configure()
	problem := func(st drivers.NetworkState, at netip.AddrPort) string {
		for _, p := range st.Ports {
			if p.Host == at {
				return p.Error
			}
		}
		return "not there"
	}
	st, _ := l.s.State(t.Context())
	if got := problem(st, second); !strings.Contains(got, "is taken by another") {
		t.Errorf("the taken port: %q", got)
	}
	if got := says(t, under.(stream), "through it all"); got != "heard through it all" {
		t.Errorf("the connection that was there: %q", got)
	}
	taken.Close()
	l.await(func(st drivers.NetworkState) bool { return problem(st, second) == "" })
	c, err := dialHere(t, "tcp", second.String())
	if err != nil {
		t.Fatal(err)
	}
	if got := says(t, c.(stream), "late"); got != "heard late" {
		t.Errorf("got %q", got)
	}
	l.config.Ports = l.config.Ports[1:]
	l.configure()
	if c, err := dialHere(t, "tcp", first.String()); err == nil {
		c.Close()
		t.Error("a port that is published no more answers")
	}
}

func TestPublishedDatagrams(t *testing.T) {
	l, m := newLab(t, drivers.NetworkNAT, "a")
	at := full(netip.AddrPortFrom(l.config.Endpoints[0].Address, 7))
	in, err := gonet.DialUDP(m[0].stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := in.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = in.WriteTo(append([]byte("heard "), buf[:n]...), from)
		}
	}()
	host := freePort(t)
	l.config.Ports = []drivers.PublishedPort{{ID: "default/a", Protocol: "udp", Host: host, Port: 7}}
	l.configure()
	c, err := dialHere(t, "udp", host.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 100)
	for begin := time.Now(); time.Since(begin) < patience; { // datagrams may be lost
		_, _ = c.Write([]byte("x"))
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(buf); err == nil {
			if got := string(buf[:n]); got != "heard x" {
				t.Errorf("got %q", got)
			}
			return
		}
	}
	t.Error("no answer")
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := listenHere(t, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestNames(t *testing.T) {
	l, m := newLab(t, drivers.NetworkIsolated, "web", "db-0", "other")
	l.config.Endpoints[1].Names = []string{"db-0", "db-0.db", "db"}
	l.config.Endpoints[2].Namespace = "test"
	l.configure()
	web, db, other := "10.213.0.10", "10.213.0.11", "10.213.0.12"
	for _, tt := range []struct {
		asker      int
		name, want string
	}{
		{0, "web.", web}, {0, "WEB.", web}, {0, "web.default.", web}, {0, "db-0.db.", db}, {0, "db-0.db.default.", db},
		{0, "db.", db}, {0, "db-0.db.default.svc.cluster.local.", db}, {0, "other.test.", other},
		{0, "other.", ""}, {2, "other.", other}, {2, "web.", ""}, {2, "web.default.", web},
		{0, "example.org.", ""}, {0, "nobody.", ""},
	} {
		if got := m[tt.asker].lookup(l.config.Gateway, tt.name); got != tt.want {
			t.Errorf("%s asked by %d: %q, want %q", tt.name, tt.asker, got, tt.want)
		}
	}
}

// lookup asks for the address of a name, and returns "" when there is none.
func (m *machine) lookup(gateway netip.Addr, name string) string {
	m.t.Helper()
	to := full(netip.AddrPortFrom(gateway, 53))
	c, err := gonet.DialUDP(m.stack, nil, &to, ipv4.ProtocolNumber)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	question, err := (&dnsmessage.Message{
		Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}).Pack()
	if err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 512)
	for begin := time.Now(); time.Since(begin) < patience; {
		_, _ = c.Write(question)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			continue
		}
		var answer dnsmessage.Message
		if err := answer.Unpack(buf[:n]); err != nil {
			m.t.Fatal(err)
		}
		if len(answer.Answers) == 0 {
			if answer.RCode != dnsmessage.RCodeNameError {
				m.t.Errorf("%s: no answer and %v", name, answer.RCode)
			}
			return ""
		}
		return netip.AddrFrom4(answer.Answers[0].Body.(*dnsmessage.AResource).A).String()
	}
	m.t.Fatalf("no answer for %s", name)
	return ""
}

func TestHostServers(t *testing.T) {
	path := t.TempDir() + "/resolv.conf"
	if err := os.WriteFile(path, []byte("# c\nsearch a\nnameserver 127.0.0.53\nnameserver nonsense\n nameserver ::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := hostServers(path); len(got) != 2 || got[0] != "127.0.0.53:53" || got[1] != "[::1]:53" {
		t.Errorf("got %q", got)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte("\x02\x76\x7a\x72\x00\x01\x02\x00\x00\x00\x01\x00\x08\x00E\x00\x00\x14"))
	f.Add(append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x01\x00\x08\x06"), arpFor([]byte{2, 0, 0, 0, 1, 0}, netip.MustParseAddr("10.213.0.10"))...))
	p := plan{netip.MustParsePrefix("10.213.0.0/24"), netip.MustParseAddr("10.213.0.1")}
	mac, addr := hardware{2, 0, 0, 0, 1, 0}, netip.MustParseAddr("10.213.0.10")
	f.Fuzz(func(t *testing.T, frame []byte) {
		v, to := p.judge(frame, mac, addr)
		switch v {
		case carry:
			if !p.subnet.Contains(to) || netip.AddrFrom4([4]byte(frame[26:30])) != addr {
				t.Errorf("carried to %s", to)
			}
		case ascend:
			if to.IsMulticast() || netip.AddrFrom4([4]byte(frame[26:30])) != addr {
				t.Errorf("ascended to %s", to)
			}
		case resolved:
			answerARP(frame, mac)
		case drop, spoofed:
		}
	})
}
