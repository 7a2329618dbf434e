package netswitch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// group runs so many functions at once, and no more.
type group struct {
	room chan struct{}
	all  sync.WaitGroup
}

func newGroup(most int) *group { return &group{room: make(chan struct{}, most)} }

// begin runs f in a goroutine, if there is room for it.
func (g *group) begin(f func()) bool {
	select {
	case g.room <- struct{}{}:
	default:
		return false
	}
	g.all.Go(func() {
		defer func() { <-g.room }()
		f()
	})
	return true
}

func (g *group) wait() { g.all.Wait() }

// clients are those of a published port that send datagrams.
type clients struct {
	group *group

	mu   sync.Mutex
	each map[netip.AddrPort]net.Conn
}

func newClients() *clients {
	return &clients{group: newGroup(maxClients), each: map[netip.AddrPort]net.Conn{}}
}

func (c *clients) wait() { c.group.wait() }

func (c *clients) get(from netip.AddrPort) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.each[from]
}

func (c *clients) drop(from netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.each, from)
}

// add gives a client a socket of its own, whose answers go to reply until none has
// come for a while.
func (c *clients) add(ctx context.Context, from netip.AddrPort, guest net.Conn, reply func([]byte) error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun := c.group.begin(func() {
		defer c.drop(from)
		defer context.AfterFunc(ctx, func() { guest.Close() })()
		defer guest.Close()
		buf := make([]byte, maxDatagram)
		for guest.SetReadDeadline(time.Now().Add(idleTimeout)) == nil {
			n, err := guest.Read(buf)
			if refused(err) {
				continue
			}
			if err != nil || reply(buf[:n]) != nil {
				return
			}
		}
	})
	if begun {
		c.each[from] = guest
	}
	return begun
}

// refused reports whether nobody listened where a datagram went. The gateway's
// stack says so by a text.
func refused(err error) bool {
	var op *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) ||
		errors.As(err, &op) && op.Err != nil && op.Err.Error() == (&tcpip.ErrConnectionRefused{}).String()
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
