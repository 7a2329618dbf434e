package channel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// The pace of Connect. Before the guest has opened its end, a hypervisor either
// refuses to connect, or connects and keeps our bytes for later: the first is
// asked again often, the second left in peace.
const (
	redialEvery = 10 * time.Millisecond
	// helloFirst is the time to the second HELLO; each next waits twice as long,
	// up to helloMost.
	helloFirst = 25 * time.Millisecond
	helloMost  = 400 * time.Millisecond
	// A guest that talks, but not to us, is amid another session and has missed
	// that its host left; it sees the connection go only if it stays gone a while.
	// One that is slow has seen it: it gets more time with each try.
	deafAfter = 400 * time.Millisecond
	deafMost  = 8 * deafAfter
	gapFirst  = 50 * time.Millisecond
	gapMost   = 800 * time.Millisecond
	// A silent one is booting, most likely.
	silentAfter = 5 * time.Second
)

// Client is the host's connection to the agent of one guest.
type Client struct {
	// Agent calls the guest. Nothing that it returns is to be trusted.
	Agent agentpb.AgentClient

	conn    *grpc.ClientConn
	session *yamux.Session
}

// Connect opens the channel with dial and does the handshake, as often as it
// takes, until the agent answers or ctx ends. ctx has no bearing on the Client
// that it returns.
func Connect(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*Client, error) {
	var last error
	for gap, deaf := gapFirst, deafAfter; ; {
		session, err := connectOnce(ctx, dial, deaf)
		if err == nil {
			return newClient(session)
		}
		if ctx.Err() != nil {
			// What was in the way is worth more than how the waiting ended.
			if last == nil {
				last = err
			}
			return nil, fmt.Errorf("the guest's agent did not answer: %w (%w)", context.Cause(ctx), last)
		}
		last = err
		wait := redialEvery
		if errors.Is(err, errNoAnswer) {
			wait = gap
			gap, deaf = min(2*gap, gapMost), min(2*deaf, deafMost)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, fmt.Errorf("the guest's agent did not answer: %w (%w)", err, last)
		}
	}
}

// Conn is what Agent calls the guest over.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// maxStreams bounds the streams beside gRPC's at one time, and with it what their
// windows hold: of the guest's memory, and of the host's when the guest keeps them
// open.
const maxStreams = 4

// DialStream opens a stream for what goes beside the calls, or fails with
// wire.ErrNoStream when enough are open.
func (c *Client) DialStream(context.Context) (net.Conn, error) {
	if c.session.NumStreams() > maxStreams {
		return nil, fmt.Errorf("%w: %d are open", wire.ErrNoStream, maxStreams)
	}
	stream, err := c.session.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("open a stream to the guest's agent: %w", err)
	}
	return stream, nil
}

// Done is closed when the connection is gone.
func (c *Client) Done() <-chan struct{} { return c.session.CloseChan() }

// Close ends the connection and every call on it.
func (c *Client) Close() error {
	return errors.Join(c.conn.Close(), c.session.Close())
}

var errNoAnswer = errors.New("no answer to the handshake")

func connectOnce(ctx context.Context, dial func(context.Context) (net.Conn, error), deaf time.Duration) (*yamux.Session, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	session, err := greet(conn, deaf)
	// Once stop has come too late the connection is closed or about to be.
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return session, nil
}

// greet does the host's part of the handshake. A guest that talks, but not to us,
// is deaf after the given time.
func greet(conn net.Conn, deaf time.Duration) (*yamux.Session, error) {
	var (
		s        = newScanner(conn)
		every    = helloFirst
		patience = silentAfter
		since    = time.Now()
	)
	for {
		if s.heard && patience == silentAfter {
			patience, since = deaf, time.Now()
		}
		if time.Since(since) > patience {
			return nil, errNoAnswer
		}
		hello := newFrame(kindHello)
		if _, err := conn.Write(hello.bytes()); err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(every)); err != nil {
			return nil, err
		}
		every = min(2*every, helloMost)
		switch err := awaitAck(s, hello); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			return nil, err
		}
		if _, err := conn.Write(hello.as(kindGo).bytes()); err != nil {
			return nil, err
		}
		return yamux.Client(joined{s.r, &frameWriter{WriteCloser: conn}}, sessionConfig())
	}
}

func awaitAck(s *scanner, hello frame) error {
	for {
		f, err := s.next()
		if err != nil {
			return err
		}
		if f == hello.as(kindAck) {
			return nil
		}
	}
}

func newClient(session *yamux.Session) (*Client, error) {
	conn, err := grpc.NewClient("passthrough:///guest",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return session.Open() }),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(MaxResponseBytes),
			grpc.MaxCallSendMsgSize(MaxRequestBytes),
		),
		grpc.WithMaxHeaderListSize(64<<10),
		grpc.WithWriteBufferSize(grpcWrite),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(),
	)
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("make the client of the guest's agent: %w", err)
	}
	conn.Connect()
	return &Client{Agent: agentpb.NewAgentClient(conn), conn: conn, session: session}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
