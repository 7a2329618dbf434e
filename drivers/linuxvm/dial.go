package linuxvm

import (
	"context"
	"fmt"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// maxDials bounds the connections into a sandbox at one time. The guest bounds
// them too, but is not trusted with it.
const maxDials = 128

// Dial connects to an address in the guest, through its agent.
func (s *sandbox) Dial(ctx context.Context, to drivers.Address) (drivers.Conn, error) {
	if err := to.Check(); err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	s.mu.Lock()
	err := s.require("dial", drivers.StateBooted, drivers.StateRunning)
	if err == nil && s.dials >= maxDials {
		err = fmt.Errorf("dial %s: %w: %d connections into the sandbox are open already", to, drivers.ErrExhausted, maxDials)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.dials++
	v := s.vm
	s.mu.Unlock()
	release := sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dials--
	})

	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := wire.Dial(ctx, func(ctx context.Context) (wire.SegmentStream, error) {
		stream, err := v.client.agent.Dial(ctx)
		if err != nil {
			return nil, err
		}
		// A failed send leaves the reason to the first receive.
		_ = stream.Send(&agentpb.DialRequest{Kind: &agentpb.DialRequest_Address{Address: wire.FromAddress(to)}})
		return dialStream{stream}, nil
	})
	if err != nil {
		release()
		if reason, gone := v.gone(); gone && ctx.Err() == nil {
			err = fmt.Errorf("%s (%w)", reason, err)
		}
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return &dialled{Conn: conn, release: release}, nil
}

// dialled gives its place up when it is closed.
type dialled struct {
	drivers.Conn

	release func()
}

func (d *dialled) Close() error {
	defer d.release()
	return d.Conn.Close()
}

// Abort closes the connection at once.
func (d *dialled) Abort() {
	defer d.release()
	wire.Abort(d.Conn)
}

// dialStream puts segments into Dial's requests.
type dialStream struct{ agentpb.Agent_DialClient }

func (s dialStream) SendSegment(m *wire.Segment) error {
	return s.Send(&agentpb.DialRequest{Kind: &agentpb.DialRequest_Segment{Segment: m}})
}

func (s dialStream) RecvSegment() (*wire.Segment, error) { return s.Recv() }
