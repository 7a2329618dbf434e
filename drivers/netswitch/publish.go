package netswitch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// retryListen is how often a port of the host that another has is tried again.
const retryListen = time.Second

// maxClients bounds those of one published port.
const maxClients = 1024

// publishedKey tells published ports apart.
type publishedKey = drivers.PublishedPort

// publication is a port of the host that leads to one of a sandbox.
type publication struct {
	config  drivers.PublishedPort
	end     context.CancelFunc
	gone    chan struct{}
	problem string // of the switch's mu
}

// publish makes the ports of the host that are published those of config. What
// stays is left alone, with its connections. s.configuring is held.
func (s *Switch) publish(config drivers.NetworkConfiguration) {
	wanted := make(map[publishedKey]bool, len(config.Ports))
	for _, c := range config.Ports {
		wanted[c] = true
	}
	for key, p := range s.published {
		if !wanted[key] {
			_ = p.close()
			s.mu.Lock()
			delete(s.published, key)
			s.mu.Unlock()
		}
	}
	for key := range wanted {
		if s.published[key] != nil {
			continue
		}
		p := &publication{config: key, gone: make(chan struct{})}
		var ctx context.Context
		ctx, p.end = context.WithCancel(s.life)
		// The first try is over when Configure is: so the host's port is there.
		listen, err := s.listen(ctx, p)
		s.mu.Lock()
		s.published[key] = p
		s.mu.Unlock()
		s.told(p, err)
		go s.keep(ctx, p, listen)
	}
}

// close gives the port back, and ends its connections.
func (p *publication) close() error {
	p.end()
	<-p.gone
	return nil
}

// told notes whether the port could be had.
func (s *Switch) told(p *publication, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	was := p.problem
	p.problem = text
	s.mu.Unlock()
	if was != text {
		s.changed()
	}
}

// keep serves a published port, and tries to have it while it cannot be had.
func (s *Switch) keep(ctx context.Context, p *publication, serve func()) {
	defer close(p.gone)
	for ctx.Err() == nil {
		if serve != nil {
			serve()
		}
		if ctx.Err() != nil {
			return
		}
		pause(ctx, retryListen)
		var err error
		if serve, err = s.listen(ctx, p); ctx.Err() == nil {
			s.told(p, err)
		} else if serve != nil {
			serve()
		}
	}
}

// listen takes the host's port. What it returns serves it until ctx ends.
func (s *Switch) listen(ctx context.Context, p *publication) (serve func(), err error) {
	var lc net.ListenConfig
	host := p.config.Host.String()
	if p.config.Protocol == "udp" {
		conn, err := lc.ListenPacket(ctx, "udp", host)
		if err != nil {
			return nil, portError(p.config, err)
		}
		return func() { s.serveUDP(ctx, p, conn.(*net.UDPConn)) }, nil //nolint:forcetypeassert // what udp makes
	}
	l, err := lc.Listen(ctx, "tcp", host)
	if err != nil {
		return nil, portError(p.config, err)
	}
	return func() { s.serveTCP(ctx, p, l) }, nil
}

func portError(c drivers.PublishedPort, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %s/%s of the host is taken by another program or sandbox", c.Host, c.Protocol)
	}
	return fmt.Errorf("port %s/%s of the host cannot be had: %w", c.Host, c.Protocol, err)
}

// target returns where a published port leads now.
func (s *Switch) target(p *publication) (netip.Addr, bool) {
	for addr, q := range s.fabric.Load().ports {
		if q.config.ID == p.config.ID {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

func (s *Switch) serveTCP(ctx context.Context, p *publication, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	clients := newGroup(maxClients)
	defer clients.wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				s.log.Warn("a published port", "port", p.config.String(), "error", err)
				pause(ctx, minRedial) // no descriptors left, most likely
				continue
			}
			return
		}
		client := conn.(*net.TCPConn) //nolint:forcetypeassert // what tcp makes
		if !clients.begin(func() { s.serveClient(ctx, p, client) }) {
			abort(client)
		}
	}
}

func (s *Switch) serveClient(ctx context.Context, p *publication, client *net.TCPConn) {
	to, ok := s.target(p)
	if !ok {
		abort(client)
		return
	}
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	guest, err := gonet.DialContextTCP(dctx, s.gateway.stack, s.gateway.at(to, p.config.Port), ipv4.ProtocolNumber)
	if err != nil {
		abort(client)
		return
	}
	join(ctx, client, guest)
}

// serveUDP has a connected socket at the gateway for each client.
func (s *Switch) serveUDP(ctx context.Context, p *publication, conn *net.UDPConn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	clients := newClients()
	defer clients.wait()
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				continue // a client that is gone
			}
			return
		}
		guest := clients.get(from)
		if guest == nil {
			to, ok := s.target(p)
			if !ok {
				continue
			}
			remote := s.gateway.at(to, p.config.Port)
			udp, err := gonet.DialUDP(s.gateway.stack, nil, &remote, ipv4.ProtocolNumber)
			if err != nil {
				continue
			}
			if !clients.add(ctx, from, udp, func(b []byte) error {
				_, err := conn.WriteToUDPAddrPort(b, from)
				return err
			}) {
				udp.Close()
				continue
			}
			guest = udp
		}
		if _, err := guest.Write(buf[:n]); errors.Is(err, io.ErrClosedPipe) {
			clients.drop(from)
		}
	}
}
