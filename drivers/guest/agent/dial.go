//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

const (
	// maxDials bounds the connections at one time, and with them what the agent
	// holds of those that are not read.
	maxDials = 128
	// dialTimeout bounds one try to connect: a queue that is full does not answer.
	dialTimeout = 10 * time.Second
)

func (s *server) Dial(stream agentpb.Agent_DialServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	to, err := wire.ToAddress(first.GetAddress())
	if err != nil {
		return wire.ToStatus(err)
	}
	select {
	case s.dials <- struct{}{}:
		defer func() { <-s.dials }()
	default:
		return wire.ToStatus(fmt.Errorf("%w: %d connections into the guest are open already", drivers.ErrExhausted, maxDials))
	}
	return wire.ServeDial(stream.Context(), dialStream{stream}, func(ctx context.Context) (drivers.Conn, error) {
		return dialLoopback(ctx, to.Port)
	})
}

// dialLoopback connects to a port as clients of "localhost" do.
func dialLoopback(ctx context.Context, port int) (drivers.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	var first error
	for _, host := range []string{"127.0.0.1", "::1"} {
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			return conn.(*net.TCPConn), nil //nolint:forcetypeassert // it is what "tcp" means
		}
		if first == nil {
			first = err
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	if errors.Is(first, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: nothing listens on port %d", drivers.ErrRefused, port)
	}
	return nil, fmt.Errorf("connect to port %d: %w", port, first)
}

// dialStream takes the segments out of Dial's requests.
type dialStream struct{ agentpb.Agent_DialServer }

func (s dialStream) SendSegment(m *wire.Segment) error { return s.Send(m) }

func (s dialStream) RecvSegment() (*wire.Segment, error) {
	req, err := s.Recv()
	return req.GetSegment(), err
}
