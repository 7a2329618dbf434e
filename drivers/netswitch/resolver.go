package netswitch

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	dnsPort = 53
	// maxQuestions bounds what one sandbox may have asked and not been told yet.
	maxQuestions = 128
	// maxMessage is the longest question or answer over UDP that is carried.
	maxMessage = 4096
	// nameTTL is short: a name may be another sandbox's tomorrow.
	nameTTL = 5
	// dnsIdle ends a TCP connection of questions.
	dnsIdle = 10 * time.Second
)

// serveNames answers questions for names at the gateway, until the switch is shut
// down.
func (s *Switch) serveNames(g *gateway) error {
	at := g.at(g.addr, dnsPort)
	conn, err := gonet.DialUDP(g.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		return err
	}
	l, err := gonet.ListenTCP(g.stack, at, ipv4.ProtocolNumber)
	if err != nil {
		conn.Close()
		return err
	}
	context.AfterFunc(s.life, func() {
		conn.Close()
		l.Close()
	})
	go s.serveNamesUDP(conn)
	go s.serveNamesTCP(l)
	return nil
}

func (s *Switch) serveNamesUDP(conn *gonet.UDPConn) {
	buf := make([]byte, maxMessage)
	for s.life.Err() == nil {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			pause(s.life, minRedial)
			continue
		}
		asker, ok := addrOf(from)
		if !ok {
			continue
		}
		question := append([]byte(nil), buf[:n]...)
		s.question(asker, func() {
			if answer := s.answer(asker, question, "udp"); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		})
	}
}

// question runs f in a goroutine, unless the sandbox that asks has too many
// questions open.
func (s *Switch) question(asker netip.Addr, f func()) bool {
	p := s.fabric.Load().ports[asker]
	if p == nil {
		return false
	}
	if p.questions.Add(1) > maxQuestions {
		p.questions.Add(-1)
		p.denied.Add(1)
		return false
	}
	go func() {
		defer p.questions.Add(-1)
		f()
	}()
	return true
}

func (s *Switch) serveNamesTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		asker, ok := addrOf(conn.RemoteAddr())
		if !ok || !s.question(asker, func() { s.serveNamesOver(asker, conn) }) {
			conn.Close()
		}
	}
}

// serveNamesOver answers the questions of one TCP connection.
func (s *Switch) serveNamesOver(asker netip.Addr, conn net.Conn) {
	defer context.AfterFunc(s.life, func() { conn.Close() })()
	defer conn.Close()
	for {
		if conn.SetDeadline(time.Now().Add(dnsIdle)) != nil {
			return
		}
		question, err := readMessage(conn)
		if err != nil {
			return
		}
		answer := s.answer(asker, question, "tcp")
		if answer == nil || writeMessage(conn, answer) != nil {
			return
		}
	}
}

// readMessage reads a message as it goes over TCP, with its length before it.
func readMessage(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeMessage(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)) //nolint:gosec // read from such a length, or short
	return err
}

func addrOf(a net.Addr) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap(), err == nil
}

// answer returns the answer to a question, nil for none.
func (s *Switch) answer(asker netip.Addr, question []byte, network string) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(question)
	if err != nil || header.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil || header.OpCode != 0 {
		return reply(header, nil, dnsmessage.RCodeNotImplemented)
	}
	f := s.fabric.Load()
	if q.Class == dnsmessage.ClassINET {
		if q.Type == dnsmessage.TypePTR {
			if name, ok := f.names.reverse(q.Name.String()); ok {
				return pointer(header, q, name)
			}
		}
		addresses, known := f.names.find(q.Name.String(), asker)
		switch {
		case len(addresses) > 0:
			return reply(header, &q, dnsmessage.RCodeSuccess, addresses...)
		case known:
			return reply(header, &q, dnsmessage.RCodeNameError)
		}
	}
	if f.config.Mode != drivers.NetworkNAT {
		// A resolver that asks out is a way out.
		return reply(header, &q, dnsmessage.RCodeNameError)
	}
	var servers []string
	if e := f.names.by[asker]; e != nil {
		servers = e.Nameservers
	}
	answer, err := ask(s.life, servers, question, network)
	if err != nil {
		s.log.Debug("a name could not be asked for", "error", err)
		return reply(header, &q, dnsmessage.RCodeServerFailure)
	}
	return answer
}

// reply makes an answer from what the network itself knows. A name that has
// addresses has none of another type.
func reply(h dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode, addresses ...netip.Addr) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	b.EnableCompression()
	if q != nil {
		if b.StartQuestions() != nil || b.Question(*q) != nil || b.StartAnswers() != nil {
			return nil
		}
		// Without EDNS an answer has 512 bytes: 25 addresses of the longest name.
		for _, a := range addresses[:min(len(addresses), maxAnswers)] {
			if q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL {
				header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: nameTTL}
				if b.AResource(header, dnsmessage.AResource{A: a.As4()}) != nil {
					return nil
				}
			}
		}
	}
	return finish(&b)
}

const maxAnswers = 12

func pointer(h dnsmessage.Header, q dnsmessage.Question, name string) []byte {
	to, err := dnsmessage.NewName(name)
	if err != nil {
		return reply(h, &q, dnsmessage.RCodeServerFailure)
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	})
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: nameTTL}
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil ||
		b.PTRResource(header, dnsmessage.PTRResource{PTR: to}) != nil {
		return nil
	}
	return finish(&b)
}

func finish(b *dnsmessage.Builder) []byte {
	m, err := b.Finish()
	if err != nil {
		return nil
	}
	return m
}
