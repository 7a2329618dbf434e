package netswitch

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// stream is a connection each of whose directions ends by itself.
type stream interface {
	net.Conn
	CloseWrite() error
}

// join carries two connections into each other until both directions have ended,
// one has failed, or ctx ends. The end of one direction leaves the other open, and
// nothing ends for being idle.
func join(ctx context.Context, a, b stream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		abort(a)
		abort(b)
	})
	defer stop()
	var both sync.WaitGroup
	for _, d := range []struct{ from, to stream }{{a, b}, {b, a}} {
		both.Go(func() {
			if _, err := io.Copy(d.to, d.from); err != nil {
				cancel()
				return
			}
			if err := d.to.CloseWrite(); err != nil {
				cancel()
			}
		})
	}
	both.Wait()
	stop()
	a.Close()
	b.Close()
}

// abort closes a connection so that the other end sees that it did not end well.
func abort(c stream) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}

const (
	// idleTimeout ends an association of datagrams in which nothing is said.
	idleTimeout = 90 * time.Second
	maxDatagram = 64 << 10
)

// relay carries datagrams between two connected sockets until nothing has come for
// a while, or ctx ends; then both are closed. That nobody listens at the other end
// for now ends nothing.
func relay(ctx context.Context, a, b net.Conn) {
	defer context.AfterFunc(ctx, func() {
		a.Close()
		b.Close()
	})()
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	var both sync.WaitGroup
	for _, d := range []struct{ from, to net.Conn }{{a, b}, {b, a}} {
		both.Go(func() {
			defer d.to.Close()
			defer d.from.Close()
			buf := make([]byte, maxDatagram)
			for {
				until := time.Unix(0, last.Load()).Add(idleTimeout)
				if time.Now().After(until) || d.from.SetReadDeadline(until) != nil {
					return
				}
				n, err := d.from.Read(buf)
				switch {
				case isTimeout(err):
					continue
				case errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF):
					return
				case err != nil:
					if !refused(err) {
						return
					}
					continue
				}
				last.Store(time.Now().UnixNano())
				if _, err := d.to.Write(buf[:n]); err != nil && !refused(err) {
					return
				}
			}
		})
	}
	both.Wait()
}
