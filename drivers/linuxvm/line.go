package linuxvm

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/guest/channel"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// link is one connection to an agent.
type link struct {
	conn  grpc.ClientConnInterface
	done  <-chan struct{} // closed when the connection is gone
	close func() error
	// dialStream opens a stream beside the calls; nil: there are none.
	dialStream func(context.Context) (net.Conn, error)
}

// up reports whether the connection is there.
func (l *link) up() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// connectFunc reaches the agent over the byte channel that dial opens.
type connectFunc func(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*link, error)

// connectChannel is the connectFunc for real guests.
func connectChannel(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*link, error) {
	c, err := channel.Connect(ctx, dial)
	if err != nil {
		return nil, err
	}
	return &link{conn: c.Conn(), done: c.Done(), close: c.Close, dialStream: c.DialStream}, nil
}

// line is the way to the agent of a machine: the link of the moment and, when that
// has broken, the next. A call that comes in between waits for it; what was under
// way on the old link has failed.
type line struct {
	// agent is called over the line.
	agent agentpb.AgentClient

	mu      sync.Mutex
	link    *link
	closed  bool          // there will be no other link
	changed chan struct{} // closed with the next change of the two
}

func newLine(l *link) *line {
	n := &line{link: l, changed: make(chan struct{})}
	n.agent = agentpb.NewAgentClient(n)
	return n
}

// current returns the latest link, which may be broken.
func (n *line) current() *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link
}

// working waits for a link that is there.
func (n *line) working(ctx context.Context) (*link, error) {
	for {
		n.mu.Lock()
		l, closed, changed := n.link, n.closed, n.changed
		n.mu.Unlock()
		switch {
		case closed:
			return nil, status.Error(codes.Unavailable, "the connection to the guest's agent is lost")
		case l.up():
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// replace goes on with another link, unless the line was closed.
func (n *line) replace(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = l.close()
		return
	}
	_ = n.link.close() // it is broken
	n.link = l
	n.change()
}

// change tells those that wait. The caller holds mu.
func (n *line) change() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// close ends the line and every call on it.
func (n *line) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.closed = true
	n.change()
	_ = n.link.close() // what is open on it ends, whatever it says
}

// isClosed reports whether the line was closed.
func (n *line) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// dialStream opens a stream beside the calls of the latest link.
func (n *line) dialStream(ctx context.Context) (net.Conn, error) {
	l, err := n.working(ctx)
	if err != nil {
		return nil, err
	}
	if l.dialStream == nil {
		return nil, wire.ErrNoStream
	}
	return l.dialStream(ctx)
}

// Invoke implements grpc.ClientConnInterface.
func (n *line) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	l, err := n.working(ctx)
	if err != nil {
		return err
	}
	return l.conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (n *line) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	l, err := n.working(ctx)
	if err != nil {
		return nil, err
	}
	return l.conn.NewStream(ctx, desc, method, opts...)
}
