package plugins

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// snapshotDeadline is ample for a disk that has to be copied byte by byte.
const snapshotDeadline = 15 * time.Minute

// CopyIn has no deadline of its own: an archive may be of any size.
func (c *client) CopyIn(ctx context.Context, req drivers.CopyInRequest, archive io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	carrier := wire.OpenCarrier(ctx, c.dial)
	defer carrier.Close()
	stream, err := c.rpc.CopyIn(ctx)
	if err != nil {
		return wire.FromStatus(err)
	}
	return wire.SendCopyIn(cancel, stream, carrier, req, archive)
}

func (c *client) CopyOut(ctx context.Context, req drivers.CopyOutRequest, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	carrier := wire.OpenCarrier(ctx, c.dial)
	defer carrier.Close()
	stream, err := c.rpc.CopyOut(ctx, wire.FromCopyOut(req, carrier))
	if err != nil {
		return wire.FromStatus(err)
	}
	return wire.Download(stream.Recv, carrier, w)
}

func (c *client) SnapshotDisk(ctx context.Context, path string) error {
	_, err := call(ctx, snapshotDeadline, c.rpc.SnapshotDisk, &runtimepb.SnapshotDiskRequest{Path: path})
	return err
}

func (s *server) CopyIn(stream grpc.ClientStreamingServer[wire.CopyIn, runtimepb.CopyInResponse]) error {
	err := wire.ServeCopyIn(stream.Context(), stream.Recv, s.streams, func(req drivers.CopyInRequest, archive io.Reader) error {
		return s.rt.CopyIn(stream.Context(), req, archive)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&runtimepb.CopyInResponse{})
}

func (s *server) CopyOut(m *wire.CopyOutStart, stream grpc.ServerStreamingServer[wire.Piece]) error {
	return wire.ServeCopyOut(stream.Context(), m, stream.Send, s.streams, func(req drivers.CopyOutRequest, w io.Writer) error {
		return s.rt.CopyOut(stream.Context(), req, w)
	})
}

func (s *server) SnapshotDisk(ctx context.Context, m *runtimepb.SnapshotDiskRequest) (*runtimepb.SnapshotDiskResponse, error) {
	return reply(&runtimepb.SnapshotDiskResponse{}, s.rt.SnapshotDisk(ctx, m.GetPath()))
}
