package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// Client calls a daemon. Its errors keep the kind they have in the daemon
// (errors.Is with those of package drivers); when the daemon is not there or
// goes away they are ErrUnreachable.
type Client struct {
	ControlClient
	conn  *grpc.ClientConn
	first *firstConn
	dial  func(context.Context) (net.Conn, error)
}

// Dial connects to the daemon that listens on a Unix socket. It fails at once,
// with an UnreachableError, when there is none.
func Dial(ctx context.Context, socket string) (*Client, error) {
	address := resolve(socket)
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", address)
	}
	first, err := dial(ctx)
	if err != nil {
		return nil, &UnreachableError{Socket: socket, Err: err}
	}
	unused := &firstConn{conn: first}
	next := func(ctx context.Context, _ string) (net.Conn, error) {
		if conn := unused.take(); conn != nil {
			return conn, nil
		}
		return dial(ctx)
	}
	in := clientInterceptors{socket: socket}
	conn, err := grpc.NewClient("passthrough:///vzreconciler",
		grpc.WithContextDialer(next),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's modes and the peer check are the security
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithDisableServiceConfig(),
		grpc.WithUnaryInterceptor(in.unary),
		grpc.WithStreamInterceptor(in.stream),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the daemon: %w", err), first.Close())
	}
	return &Client{ControlClient: NewControlClient(conn), conn: conn, first: unused, dial: dial}, nil
}

// Close ends the connection and the calls under way.
func (c *Client) Close() error {
	err := c.conn.Close()
	if conn := c.first.take(); conn != nil {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// firstConn is the connection that Dial made, until gRPC takes it, which it does
// with the first call.
type firstConn struct {
	mu   sync.Mutex
	conn net.Conn
}

// take returns the connection once, then nil.
func (f *firstConn) take() net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	conn := f.conn
	f.conn = nil
	return conn
}

// Exec runs a process in a sandbox, connected to stdio, until it exits.
// Cancelling ctx kills it.
func (c *Client) Exec(ctx context.Context, start *ExecStart, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ControlClient.Exec(ctx)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	// A failed send leaves the reason to Recv, in Pump.
	_ = stream.Send(&ExecRequest{Kind: &ExecRequest_Start{Start: start}})
	return wire.Pump(ctx, execClient{stream}, stdio, nil)
}

// Attach connects stdio to the init process of a container until it exits.
// Cancelling ctx leaves the process running.
func (c *Client) Attach(ctx context.Context, start *AttachStart, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ControlClient.Attach(ctx)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	// A failed send leaves the reason to Recv, in Pump.
	_ = stream.Send(&AttachRequest{Kind: &AttachRequest_Start{Start: start}})
	return wire.Pump(ctx, attachClient{stream}, stdio, nil)
}

// attachClient wraps a process's input into requests.
type attachClient struct {
	grpc.BidiStreamingClient[AttachRequest, wire.Output]
}

func (c attachClient) SendInput(in *wire.Input) error {
	return c.Send(&AttachRequest{Kind: &AttachRequest_Input{Input: in}})
}

// execClient wraps a process's input into requests.
type execClient struct {
	grpc.BidiStreamingClient[ExecRequest, wire.Output]
}

func (c execClient) SendInput(in *wire.Input) error {
	return c.Send(&ExecRequest{Kind: &ExecRequest_Input{Input: in}})
}

// ErrUnreachable means that there is no daemon to talk to.
var ErrUnreachable = errors.New("the daemon cannot be reached")

// UnreachableError is an ErrUnreachable that says where the daemon was looked
// for and what to do.
type UnreachableError struct {
	Socket string
	Err    error
}

// Error says which socket was tried and how to start a daemon.
func (e *UnreachableError) Error() string {
	start := "start it with: vzreconciler"
	if dir, ok := stateDirOf(e.Socket); ok {
		start += " --state-dir " + dir
	}
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		return fmt.Sprintf("no daemon is running: there is no socket %s; %s", e.Socket, start)
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no daemon is running: nobody listens on %s; %s", e.Socket, start)
	case errors.Is(e.Err, fs.ErrPermission):
		return fmt.Sprintf("the daemon's socket %s belongs to another user: run this as them or as root", e.Socket)
	default:
		return fmt.Sprintf("the daemon on %s went away (%v); %s", e.Socket, e.Err, start)
	}
}

// Unwrap makes it an ErrUnreachable.
func (e *UnreachableError) Unwrap() []error { return []error{ErrUnreachable, e.Err} }

// stateDirOf returns the state directory that a control socket lies in.
func stateDirOf(socket string) (string, bool) {
	run := filepath.Dir(socket)
	return filepath.Dir(run), filepath.Base(run) == "run" && filepath.Base(socket) == "vzreconciler.sock"
}
