package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// dial connects to the port of a "host:port" in the sandbox.
func dial(ctx context.Context, target Target, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", port, err)
	}
	conn, err := target.Dial(ctx, drivers.Address{Port: n})
	if err != nil {
		return nil, err
	}
	return netConn{conn, guestAddr(addr)}, nil
}

// netConn is a connection into a sandbox as the standard library wants it. It has
// no deadlines: whoever uses it closes it when its context ends, which ends every
// read and write.
type netConn struct {
	drivers.Conn

	addr guestAddr
}

func (c netConn) LocalAddr() net.Addr            { return c.addr }
func (c netConn) RemoteAddr() net.Addr           { return c.addr }
func (netConn) SetDeadline(time.Time) error      { return nil }
func (netConn) SetReadDeadline(time.Time) error  { return nil }
func (netConn) SetWriteDeadline(time.Time) error { return nil }

// guestAddr is an address in the sandbox.
type guestAddr string

func (guestAddr) Network() string  { return "sandbox" }
func (a guestAddr) String() string { return string(a) }
