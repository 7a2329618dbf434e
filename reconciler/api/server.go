package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

const (
	// maxRequest bounds a message to the daemon: the largest is a manifest file.
	maxRequest = 8 << 20
	// maxResponse bounds a message to the client: the largest is a list of objects.
	maxResponse = 256 << 20
	// stopTimeout bounds how long calls under way may hold the daemon's end up.
	stopTimeout = 2 * time.Second
)

// Serve answers calls on the listener until ctx is cancelled, then ends those
// under way and closes the listener. The listener is a Unix socket's.
func Serve(ctx context.Context, l net.Listener, backend Backend, log *slog.Logger) error {
	in := interceptors{ctx: ctx, owner: os.Geteuid(), log: log}
	streams := &wire.Streams{}
	s := grpc.NewServer(
		grpc.Creds(newPeerCredentials(streams)),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.ChainUnaryInterceptor(in.unary),
		grpc.ChainStreamInterceptor(in.stream),
	)
	RegisterControlServer(s, &server{backend: backend, streams: streams})

	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		s.Stop()
		return fmt.Errorf("serve the control API: %w", err)
	case <-ctx.Done():
	}
	// The interceptors have cancelled every call by now: this waits for their ends.
	stuck := time.AfterFunc(stopTimeout, s.Stop)
	defer stuck.Stop()
	s.GracefulStop()
	// Serve may not have begun.
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve the control API: %w", err)
	}
	return nil
}

// server translates between RPCs and a Backend.
type server struct {
	UnimplementedControlServer
	backend Backend
	// streams are what clients have opened beside the calls.
	streams *wire.Streams
}

func (s *server) Status(ctx context.Context, _ *StatusRequest) (*StatusResponse, error) {
	return s.backend.Status(ctx)
}

func (s *server) Get(ctx context.Context, req *GetRequest) (*GetResponse, error) {
	objects, err := s.backend.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := &GetResponse{Objects: make([][]byte, len(objects))}
	for i, o := range objects {
		resp.Objects[i] = o
	}
	return resp, nil
}

func (s *server) Watch(req *GetRequest, stream grpc.ServerStreamingServer[WatchResponse]) error {
	return s.backend.Watch(stream.Context(), req, stream.Send)
}

func (s *server) Events(req *EventsRequest, stream grpc.ServerStreamingServer[Event]) error {
	return s.backend.Events(stream.Context(), req, stream.Send)
}

func (s *server) Apply(ctx context.Context, req *ApplyRequest) (*ApplyResponse, error) {
	return s.backend.Apply(ctx, req)
}

func (s *server) Delete(ctx context.Context, req *DeleteRequest) (*DeleteResponse, error) {
	return s.backend.Delete(ctx, req)
}

func (s *server) ConfirmPrune(ctx context.Context, _ *ConfirmPruneRequest) (*ConfirmPruneResponse, error) {
	return s.backend.ConfirmPrune(ctx)
}

func (s *server) ReadDocument(ctx context.Context, req *ReadDocumentRequest) (*ReadDocumentResponse, error) {
	return s.backend.ReadDocument(ctx, req)
}

func (s *server) ReplaceDocument(ctx context.Context, req *ReplaceDocumentRequest) (*ReplaceDocumentResponse, error) {
	return s.backend.ReplaceDocument(ctx, req)
}

func (s *server) Plan(ctx context.Context, req *PlanRequest) (*PlanResponse, error) {
	return s.backend.Plan(ctx, req)
}

func (s *server) SuspendReconciling(ctx context.Context, req *SuspendReconcilingRequest) (*SuspendReconcilingResponse, error) {
	return &SuspendReconcilingResponse{}, s.backend.SuspendReconciling(ctx, req)
}

func (s *server) ResumeReconciling(ctx context.Context, req *ResumeReconcilingRequest) (*ResumeReconcilingResponse, error) {
	return &ResumeReconcilingResponse{}, s.backend.ResumeReconciling(ctx, req)
}

func (s *server) ReconcileNow(ctx context.Context, req *ReconcileNowRequest) (*ReconcileNowResponse, error) {
	return &ReconcileNowResponse{}, s.backend.ReconcileNow(ctx, req)
}

func (s *server) Stop(ctx context.Context, req *StopRequest) (*StopResponse, error) {
	return &StopResponse{}, s.backend.Stop(ctx, req)
}

func (s *server) Start(ctx context.Context, req *StartRequest) (*StartResponse, error) {
	return &StartResponse{}, s.backend.Start(ctx, req)
}

func (s *server) Restart(ctx context.Context, req *RestartRequest) (*RestartResponse, error) {
	return &RestartResponse{}, s.backend.Restart(ctx, req)
}

func (s *server) Pause(ctx context.Context, req *PauseRequest) (*PauseResponse, error) {
	return &PauseResponse{}, s.backend.Pause(ctx, req)
}

func (s *server) Resume(ctx context.Context, req *ResumeRequest) (*ResumeResponse, error) {
	return &ResumeResponse{}, s.backend.Resume(ctx, req)
}

func (s *server) Kill(ctx context.Context, req *KillRequest) (*KillResponse, error) {
	return &KillResponse{}, s.backend.Kill(ctx, req)
}

func (s *server) Exec(stream grpc.BidiStreamingServer[ExecRequest, wire.Output]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return fmt.Errorf("exec: %w: the first message must say what to run", drivers.ErrInvalidArgument)
	}
	return wire.Serve(stream.Context(), execServer{stream}, start.GetStdin(),
		func(ctx context.Context, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
			return s.backend.Exec(ctx, start, stdio, started)
		})
}

func (s *server) Attach(stream grpc.BidiStreamingServer[AttachRequest, wire.Output]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return fmt.Errorf("attach: %w: the first message must say what to attach to", drivers.ErrInvalidArgument)
	}
	return wire.Serve(stream.Context(), attachServer{stream}, start.GetStdin(),
		func(ctx context.Context, stdio drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
			return s.backend.Attach(ctx, start, stdio)
		})
}

func (s *server) Logs(req *LogsRequest, stream grpc.ServerStreamingServer[LogsResponse]) error {
	return s.backend.Logs(stream.Context(), req, func(data []byte) error {
		return stream.Send(&LogsResponse{Data: data})
	})
}

func (s *server) Statistics(ctx context.Context, req *StatisticsRequest) (*StatisticsResponse, error) {
	return s.backend.Statistics(ctx, req)
}

func (s *server) PullImage(req *PullImageRequest, stream grpc.ServerStreamingServer[PullImageResponse]) error {
	return s.backend.PullImage(stream.Context(), req, stream.Send)
}

func (s *server) ListImages(ctx context.Context, _ *ListImagesRequest) (*ListImagesResponse, error) {
	return s.backend.ListImages(ctx)
}

func (s *server) RemoveImage(ctx context.Context, req *RemoveImageRequest) (*RemoveImageResponse, error) {
	return s.backend.RemoveImage(ctx, req)
}

func (s *server) ListVolumes(ctx context.Context, req *ListVolumesRequest) (*ListVolumesResponse, error) {
	return s.backend.ListVolumes(ctx, req)
}

func (s *server) RemoveVolume(ctx context.Context, req *RemoveVolumeRequest) (*RemoveVolumeResponse, error) {
	return s.backend.RemoveVolume(ctx, req)
}

func (s *server) ListNetworks(ctx context.Context, req *ListNetworksRequest) (*ListNetworksResponse, error) {
	return s.backend.ListNetworks(ctx, req)
}

// attachServer takes a process's input out of the requests that wrap it.
type attachServer struct {
	grpc.BidiStreamingServer[AttachRequest, wire.Output]
}

func (s attachServer) RecvInput() (*wire.Input, error) {
	req, err := s.Recv()
	return req.GetInput(), err
}

// execServer takes a process's input out of the requests that wrap it.
type execServer struct {
	grpc.BidiStreamingServer[ExecRequest, wire.Output]
}

func (s execServer) RecvInput() (*wire.Input, error) {
	req, err := s.Recv()
	if err != nil {
		return nil, err
	}
	return req.GetInput(), nil
}
