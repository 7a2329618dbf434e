package plugins

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// NewServer returns the gRPC service that answers with rt.
func NewServer(rt drivers.Runtime) runtimepb.RuntimeServer {
	return &server{rt: rt}
}

type server struct {
	runtimepb.UnimplementedRuntimeServer

	rt drivers.Runtime
	// streams are what the launcher has opened beside the calls; nil: none.
	streams *wire.Streams
}

// reply is what a handler returns: the answer, or err as a status.
func reply[T any](m *T, err error) (*T, error) {
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return m, nil
}

func (s *server) Info(ctx context.Context, _ *runtimepb.InfoRequest) (*runtimepb.InfoResponse, error) {
	info, err := s.rt.Info(ctx)
	return reply(&runtimepb.InfoResponse{
		Name:              info.Name,
		Version:           info.Version,
		Capabilities:      info.Capabilities,
		Platforms:         info.Platforms,
		RuntimeDataSchema: info.RuntimeDataSchema,
	}, err)
}

func (s *server) Probe(ctx context.Context, _ *runtimepb.ProbeRequest) (*runtimepb.ProbeResponse, error) {
	return reply(&runtimepb.ProbeResponse{}, s.rt.Probe(ctx))
}

func (s *server) Bootstrap(ctx context.Context, m *runtimepb.BootstrapRequest) (*runtimepb.BootstrapResponse, error) {
	err := s.rt.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: m.GetBundle(), Secrets: m.GetSecrets()})
	return reply(&runtimepb.BootstrapResponse{}, err)
}

func (s *server) CreateProcess(ctx context.Context, m *runtimepb.CreateProcessRequest) (*runtimepb.CreateProcessResponse, error) {
	err := s.rt.CreateProcess(ctx, m.GetId(), m.GetContainer(), wire.ToSpec(m.GetSpec()))
	return reply(&runtimepb.CreateProcessResponse{}, err)
}

func (s *server) StartProcess(ctx context.Context, m *runtimepb.StartProcessRequest) (*runtimepb.StartProcessResponse, error) {
	return reply(&runtimepb.StartProcessResponse{}, s.rt.StartProcess(ctx, m.GetId()))
}

func (s *server) Kill(ctx context.Context, m *runtimepb.KillRequest) (*runtimepb.KillResponse, error) {
	return reply(&runtimepb.KillResponse{}, s.rt.Kill(ctx, m.GetId(), int(m.GetSignal())))
}

func (s *server) Resize(ctx context.Context, m *runtimepb.ResizeRequest) (*runtimepb.ResizeResponse, error) {
	return reply(&runtimepb.ResizeResponse{}, s.rt.Resize(ctx, m.GetId(), wire.ToSize(m.GetSize())))
}

func (s *server) Wait(ctx context.Context, m *runtimepb.WaitRequest) (*wire.ExitStatus, error) {
	exit, err := s.rt.Wait(ctx, m.GetId())
	return reply(wire.FromExit(exit), err)
}

func (s *server) Stop(ctx context.Context, m *runtimepb.StopRequest) (*runtimepb.StopResponse, error) {
	err := s.rt.Stop(ctx, drivers.StopOptions{
		Signal:      int(m.GetSignal()),
		GracePeriod: m.GetGracePeriod().AsDuration(),
	})
	return reply(&runtimepb.StopResponse{}, err)
}

func (s *server) State(ctx context.Context, _ *runtimepb.StateRequest) (*runtimepb.Snapshot, error) {
	snap, err := s.rt.State(ctx)
	return reply(fromSnapshot(snap), err)
}

func (s *server) Statistics(ctx context.Context, _ *runtimepb.StatisticsRequest) (*wire.Statistics, error) {
	stats, err := s.rt.Statistics(ctx)
	return reply(wire.FromStatistics(stats), err)
}

func (s *server) Dial(stream grpc.BidiStreamingServer[runtimepb.DialRequest, wire.Segment]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	to, err := wire.ToAddress(first.GetAddress())
	if err != nil {
		return wire.ToStatus(err)
	}
	return wire.ServeDial(stream.Context(), dialServer{stream}, func(ctx context.Context) (drivers.Conn, error) {
		return s.rt.Dial(ctx, to)
	})
}

// dialServer takes the segments out of Dial's requests.
type dialServer struct {
	grpc.BidiStreamingServer[runtimepb.DialRequest, wire.Segment]
}

func (s dialServer) SendSegment(m *wire.Segment) error { return s.Send(m) }

func (s dialServer) RecvSegment() (*wire.Segment, error) {
	m, err := s.Recv()
	return m.GetSegment(), err
}

func (s *server) Pause(ctx context.Context, _ *runtimepb.PauseRequest) (*runtimepb.PauseResponse, error) {
	return reply(&runtimepb.PauseResponse{}, s.rt.Pause(ctx))
}

func (s *server) Resume(ctx context.Context, _ *runtimepb.ResumeRequest) (*runtimepb.ResumeResponse, error) {
	return reply(&runtimepb.ResumeResponse{}, s.rt.Resume(ctx))
}

func (s *server) Events(_ *runtimepb.EventsRequest, stream grpc.ServerStreamingServer[runtimepb.Snapshot]) error {
	snaps, err := s.rt.Events(stream.Context())
	if err != nil {
		return wire.ToStatus(err)
	}
	for snap := range snaps {
		if err := stream.Send(fromSnapshot(snap)); err != nil {
			return err
		}
	}
	return wire.ToStatus(stream.Context().Err())
}

func (s *server) Shutdown(ctx context.Context, _ *runtimepb.ShutdownRequest) (*runtimepb.ShutdownResponse, error) {
	return reply(&runtimepb.ShutdownResponse{}, s.rt.Shutdown(ctx))
}

// errNoStart is for a client that does not begin a stream as it must.
var errNoStart = fmt.Errorf("%w: the first message of the stream must be a start", drivers.ErrInvalidArgument)

func (s *server) Exec(stream grpc.BidiStreamingServer[runtimepb.ExecRequest, wire.Output]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return wire.ToStatus(errNoStart)
	}
	in := inputs[runtimepb.ExecRequest]{stream, (*runtimepb.ExecRequest).GetInput}
	return wire.Serve(stream.Context(), in, start.GetStdin(),
		func(ctx context.Context, stdio drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
			return s.rt.Exec(ctx, start.GetContainer(), wire.ToSpec(start.GetSpec()), stdio)
		})
}

func (s *server) Attach(stream grpc.BidiStreamingServer[runtimepb.AttachRequest, wire.Output]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return wire.ToStatus(errNoStart)
	}
	in := inputs[runtimepb.AttachRequest]{stream, (*runtimepb.AttachRequest).GetInput}
	return wire.Serve(stream.Context(), in, start.GetStdin(),
		func(ctx context.Context, stdio drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
			return s.rt.Attach(ctx, start.GetId(), stdio)
		})
}

// inputs takes the inputs out of a stream of requests that start once.
type inputs[Req any] struct {
	grpc.BidiStreamingServer[Req, wire.Output]

	input func(*Req) *wire.Input
}

var errNotInput = errors.New("only the first message of the stream may be a start")

func (s inputs[Req]) RecvInput() (*wire.Input, error) {
	m, err := s.Recv()
	if err != nil {
		return nil, err
	}
	in := s.input(m)
	if in == nil {
		return nil, errNotInput
	}
	return in, nil
}
