//go:build linux

package agent

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/guest/channel"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// server is agentpb.Agent over a guest: messages in, messages out.
type server struct {
	agentpb.UnimplementedAgentServer
	guest *guest
	grpc  *grpc.Server
	// streams are what the host has opened beside the calls.
	streams wire.Streams
	// off is closed when the guest is ready to be powered off.
	off chan struct{}
	// dials has room for each connection that Dial carries.
	dials chan struct{}
}

func newServer(g *guest) *server {
	s := &server{guest: g, off: make(chan struct{}), dials: make(chan struct{}, maxDials)}
	s.grpc = grpc.NewServer(append(channel.ServerOptions(), grpc.UnaryInterceptor(statusErrors))...)
	agentpb.RegisterAgentServer(s.grpc, s)
	return s
}

// statusErrors lets errors keep their kind on the way to the host.
func statusErrors(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	return resp, wire.ToStatus(err)
}

// serve answers the host, each time it comes. It returns only with an error:
// after a shutdown it waits for the power to go.
func (s *server) serve(ctx context.Context, open opener) error {
	for {
		conn, err := open(ctx)
		if err != nil {
			return fmt.Errorf("open the channel to the host: %w", err)
		}
		host, err := channel.Accept(conn, &s.streams)
		if err != nil {
			s.guest.log.Warn("no contact", "error", err)
			continue
		}
		served := make(chan error, 1)
		go func() { served <- s.grpc.Serve(host) }()
		select {
		case err := <-served:
			s.guest.log.Warn("the host left", "cause", err)
			_ = host.Hangup()
		case <-s.off:
			s.powerOff(host)
		}
	}
}

// powerOff lets the last answers out and switches off; it does not return.
func (s *server) powerOff(host *channel.Host) {
	// A host that does not read must not keep the power on.
	time.AfterFunc(time.Second, powerOff)
	s.grpc.GracefulStop()
	_ = host.Flush()
	powerOff()
}

func (s *server) Info(context.Context, *agentpb.InfoRequest) (*agentpb.InfoResponse, error) {
	return info()
}

func (s *server) Configure(ctx context.Context, req *agentpb.ConfigureRequest) (*agentpb.ConfigureResponse, error) {
	return &agentpb.ConfigureResponse{}, s.guest.configure(ctx, req)
}

func (s *server) CreateContainer(ctx context.Context, req *agentpb.CreateContainerRequest) (*agentpb.CreateContainerResponse, error) {
	return &agentpb.CreateContainerResponse{}, s.guest.createContainer(ctx, req)
}

func (s *server) Run(stream agentpb.Agent_RunServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return wire.ToStatus(fmt.Errorf("%w: the first message of Run does not say what to start", drivers.ErrInvalidArgument))
	}
	return wire.Serve(stream.Context(), runStream{stream}, start.GetStdin(),
		func(ctx context.Context, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
			return s.guest.run(ctx, start.GetId(), start.GetContainer(), wire.ToSpec(start.GetSpec()), stdio, s.thenSettle(started))
		})
}

// thenSettle has the guest settle once the host knows that a process runs: it is
// not to wait for that.
func (s *server) thenSettle(started func(int, time.Time)) func(int, time.Time) {
	return func(pid int, at time.Time) {
		started(pid, at)
		go s.guest.settle()
	}
}

// runStream takes the inputs out of Run's requests.
type runStream struct{ agentpb.Agent_RunServer }

func (s runStream) RecvInput() (*wire.Input, error) {
	req, err := s.Recv()
	return req.GetInput(), err
}

func (s *server) Start(ctx context.Context, req *agentpb.RunStart) (*agentpb.StartResponse, error) {
	p, err := s.guest.begin(ctx, req.GetId(), req.GetContainer(), wire.ToSpec(req.GetSpec()), req.GetStdin())
	if err != nil {
		return nil, err
	}
	pid, _ := p.process()
	return &agentpb.StartResponse{Run: p.run, Pid: int64(pid)}, nil
}

func (s *server) Follow(stream agentpb.Agent_FollowServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return wire.ToStatus(fmt.Errorf("%w: the first message of Follow does not say what to follow", drivers.ErrInvalidArgument))
	}
	p, err := s.guest.session(start.GetId(), start.GetRun())
	if err != nil {
		return wire.ToStatus(err)
	}
	return wire.Serve(stream.Context(), followStream{stream, p}, p.stdin != nil,
		func(ctx context.Context, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
			return p.follow(ctx, toPosition(start.GetFrom()), stdio, s.thenSettle(started))
		})
}

// followStream takes the inputs out of Follow's requests, and the positions in.
type followStream struct {
	agentpb.Agent_FollowServer
	session *session
}

func (s followStream) RecvInput() (*wire.Input, error) {
	for {
		req, err := s.Recv()
		if kept := req.GetKept(); kept != nil {
			s.session.output.kept(toPosition(kept))
			continue
		}
		return req.GetInput(), err
	}
}

func toPosition(m *agentpb.Position) position {
	return position{stdout: m.GetStdout(), stderr: m.GetStderr()}
}

func (s *server) Signal(_ context.Context, req *agentpb.SignalRequest) (*agentpb.SignalResponse, error) {
	return &agentpb.SignalResponse{}, s.guest.signal(req.GetId(), int(req.GetSignal()))
}

func (s *server) Statistics(context.Context, *agentpb.StatisticsRequest) (*wire.Statistics, error) {
	stats, err := s.guest.statistics()
	if err != nil {
		return nil, err
	}
	return wire.FromStatistics(stats), nil
}

func (s *server) Update(_ context.Context, live *wire.Live) (*agentpb.UpdateResponse, error) {
	return &agentpb.UpdateResponse{}, s.guest.update(live)
}

func (s *server) SetTime(_ context.Context, req *agentpb.SetTimeRequest) (*agentpb.SetTimeResponse, error) {
	if err := seedRandom(req.GetRandomSeed()); err != nil {
		return nil, err
	}
	return &agentpb.SetTimeResponse{}, setTime(req.GetTime())
}

func (s *server) Shutdown(ctx context.Context, _ *agentpb.ShutdownRequest) (*agentpb.ShutdownResponse, error) {
	if s.guest.shutdown(ctx) {
		close(s.off)
	}
	return &agentpb.ShutdownResponse{}, nil
}
