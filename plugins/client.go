package plugins

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// The deadlines of calls whose context has none: no call hangs for ever. Wait
// alone has none, since a process may run for years.
const (
	bootstrapDeadline = 10 * time.Minute
	// stopDeadline comes on top of the grace period.
	stopDeadline = 2 * time.Minute
	// probeDeadline is long, for a probe may boot a machine.
	probeDeadline = 2 * time.Minute
	callDeadline  = 30 * time.Second
)

// NewClient returns the runtime at the other end of conn.
func NewClient(conn grpc.ClientConnInterface) drivers.Runtime {
	return &client{rpc: runtimepb.NewRuntimeClient(conn)}
}

type client struct {
	rpc runtimepb.RuntimeClient
	// dial connects to the plugin for what goes beside the calls; nil: nothing does.
	dial func(context.Context) (net.Conn, error)
}

// call makes one unary call within a deadline.
func call[Req, Resp any](ctx context.Context, limit time.Duration,
	rpc func(context.Context, *Req, ...grpc.CallOption) (*Resp, error), req *Req,
) (*Resp, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	resp, err := rpc(ctx, req)
	return resp, wire.FromStatus(err)
}

func (c *client) Info(ctx context.Context) (drivers.Info, error) {
	m, err := call(ctx, callDeadline, c.rpc.Info, &runtimepb.InfoRequest{})
	if err != nil {
		return drivers.Info{}, err
	}
	return drivers.Info{
		Name:              m.GetName(),
		Version:           m.GetVersion(),
		Capabilities:      m.GetCapabilities(),
		Platforms:         m.GetPlatforms(),
		RuntimeDataSchema: m.GetRuntimeDataSchema(),
	}, nil
}

func (c *client) Probe(ctx context.Context) error {
	_, err := call(ctx, probeDeadline, c.rpc.Probe, &runtimepb.ProbeRequest{})
	return err
}

func (c *client) Bootstrap(ctx context.Context, req drivers.BootstrapRequest) error {
	_, err := call(ctx, bootstrapDeadline, c.rpc.Bootstrap,
		&runtimepb.BootstrapRequest{Bundle: req.Bundle, Secrets: req.Secrets})
	return err
}

func (c *client) CreateProcess(ctx context.Context, id, container string, spec drivers.ProcessSpec) error {
	_, err := call(ctx, callDeadline, c.rpc.CreateProcess,
		&runtimepb.CreateProcessRequest{Id: id, Container: container, Spec: wire.FromSpec(spec)})
	return err
}

func (c *client) StartProcess(ctx context.Context, id string) error {
	_, err := call(ctx, callDeadline, c.rpc.StartProcess, &runtimepb.StartProcessRequest{Id: id})
	return err
}

func (c *client) Kill(ctx context.Context, id string, signal int) error {
	_, err := call(ctx, callDeadline, c.rpc.Kill, &runtimepb.KillRequest{Id: id, Signal: int32(signal)})
	return err
}

func (c *client) Resize(ctx context.Context, id string, size drivers.TerminalSize) error {
	_, err := call(ctx, callDeadline, c.rpc.Resize, &runtimepb.ResizeRequest{Id: id, Size: wire.FromSize(size)})
	return err
}

func (c *client) Wait(ctx context.Context, id string) (drivers.ExitStatus, error) {
	m, err := c.rpc.Wait(ctx, &runtimepb.WaitRequest{Id: id})
	if err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	return wire.ToExit(m), nil
}

func (c *client) Stop(ctx context.Context, opts drivers.StopOptions) error {
	_, err := call(ctx, opts.GracePeriod+stopDeadline, c.rpc.Stop,
		&runtimepb.StopRequest{Signal: int32(opts.Signal), GracePeriod: durationpb.New(opts.GracePeriod)})
	return err
}

func (c *client) State(ctx context.Context) (drivers.Snapshot, error) {
	m, err := call(ctx, callDeadline, c.rpc.State, &runtimepb.StateRequest{})
	if err != nil {
		return drivers.Snapshot{}, err
	}
	return toSnapshot(m), nil
}

func (c *client) Statistics(ctx context.Context) (drivers.Statistics, error) {
	m, err := call(ctx, callDeadline, c.rpc.Statistics, &runtimepb.StatisticsRequest{})
	if err != nil {
		return drivers.Statistics{}, err
	}
	return wire.ToStatistics(m), nil
}

func (c *client) Dial(ctx context.Context, to drivers.Address) (drivers.Conn, error) {
	if err := to.Check(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callDeadline)
		defer cancel()
	}
	return wire.Dial(ctx, func(ctx context.Context) (wire.SegmentStream, error) {
		stream, err := c.rpc.Dial(ctx)
		if err != nil {
			return nil, err
		}
		// A failed send leaves the reason to the first receive.
		_ = stream.Send(&runtimepb.DialRequest{Kind: &runtimepb.DialRequest_Address{Address: wire.FromAddress(to)}})
		return dialClient{stream}, nil
	})
}

// dialClient puts segments into Dial's requests.
type dialClient struct {
	grpc.BidiStreamingClient[runtimepb.DialRequest, wire.Segment]
}

func (s dialClient) SendSegment(m *wire.Segment) error {
	return s.Send(&runtimepb.DialRequest{Kind: &runtimepb.DialRequest_Segment{Segment: m}})
}

func (s dialClient) RecvSegment() (*wire.Segment, error) { return s.Recv() }

func (c *client) Pause(ctx context.Context) error {
	_, err := call(ctx, callDeadline, c.rpc.Pause, &runtimepb.PauseRequest{})
	return err
}

func (c *client) Resume(ctx context.Context) error {
	_, err := call(ctx, callDeadline, c.rpc.Resume, &runtimepb.ResumeRequest{})
	return err
}

func (c *client) Shutdown(ctx context.Context) error {
	_, err := call(ctx, callDeadline, c.rpc.Shutdown, &runtimepb.ShutdownRequest{})
	return err
}

// Events waits for the first Snapshot, so that a call the runtime refuses is an
// error and not a channel that closes at once.
func (c *client) Events(ctx context.Context) (<-chan drivers.Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.rpc.Events(ctx, &runtimepb.EventsRequest{})
	if err != nil {
		cancel()
		return nil, wire.FromStatus(err)
	}
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, wire.FromStatus(err)
	}
	out := make(chan drivers.Snapshot, 1)
	go func() {
		defer cancel()
		defer close(out)
		for m := first; err == nil; m, err = stream.Recv() {
			// A Snapshot that nobody has taken yet is out of date now. There is
			// room then, for nobody else puts anything in.
			select {
			case <-out:
			default:
			}
			out <- toSnapshot(m)
		}
	}()
	return out, nil
}

func (c *client) Exec(ctx context.Context, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Exec(ctx)
	if err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	start := &runtimepb.ExecStart{Container: container, Spec: wire.FromSpec(spec), Stdin: stdio.Stdin != nil}
	return pump(ctx, stream, stdio, &runtimepb.ExecRequest{Kind: &runtimepb.ExecRequest_Start{Start: start}},
		func(in *wire.Input) *runtimepb.ExecRequest {
			return &runtimepb.ExecRequest{Kind: &runtimepb.ExecRequest_Input{Input: in}}
		})
}

func (c *client) Attach(ctx context.Context, id string, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.Attach(ctx)
	if err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	start := &runtimepb.AttachStart{Id: id, Stdin: stdio.Stdin != nil}
	return pump(ctx, stream, stdio, &runtimepb.AttachRequest{Kind: &runtimepb.AttachRequest_Start{Start: start}},
		func(in *wire.Input) *runtimepb.AttachRequest {
			return &runtimepb.AttachRequest{Kind: &runtimepb.AttachRequest_Input{Input: in}}
		})
}

// pump sends the start and then connects stdio to the stream.
func pump[Req any](ctx context.Context, stream grpc.BidiStreamingClient[Req, wire.Output], stdio drivers.Stdio,
	start *Req, wrap func(*wire.Input) *Req,
) (drivers.ExitStatus, error) {
	// An error of Send is io.EOF; Recv then has the real one.
	if err := stream.Send(start); err != nil && !errors.Is(err, io.EOF) {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	return wire.Pump(ctx, requests[Req]{stream, wrap}, stdio, nil)
}

// requests puts inputs into the requests of a stream.
type requests[Req any] struct {
	grpc.BidiStreamingClient[Req, wire.Output]

	wrap func(*wire.Input) *Req
}

func (s requests[Req]) SendInput(in *wire.Input) error { return s.Send(s.wrap(in)) }
