package api

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

func (s *server) CopyIn(stream grpc.ClientStreamingServer[CopyInRequest, CopyInResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return fmt.Errorf("copy in: %w: the first message must say what goes where", drivers.ErrInvalidArgument)
	}
	next := func() ([]byte, error) {
		req, err := stream.Recv()
		return req.GetData(), err
	}
	err = wire.ServeUpload(stream.Context(), next, s.streams, start.GetCopy().GetStream(), func(archive io.Reader) error {
		return s.backend.CopyIn(stream.Context(), start.GetObject(), wire.ToCopyIn(start.GetCopy()), archive)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&CopyInResponse{})
}

func (s *server) CopyOut(req *CopyOutRequest, stream grpc.ServerStreamingServer[wire.Piece]) error {
	return wire.ServeCopyOut(stream.Context(), req.GetCopy(), stream.Send, s.streams, func(c drivers.CopyOutRequest, w io.Writer) error {
		return s.backend.CopyOut(stream.Context(), req.GetObject(), c, w)
	})
}

func (s *server) Export(req *ExportRequest, stream grpc.ServerStreamingServer[wire.Piece]) error {
	w := wire.NewPieceWriter(func(p []byte) error { return stream.Send(&wire.Piece{Data: p}) })
	if err := s.backend.Export(stream.Context(), req, w); err != nil {
		return err
	}
	return w.Flush()
}

// CopyIn unpacks an archive in a container of a sandbox. Cancelling ctx ends it;
// a read of the archive that is under way then goes on.
func (c *Client) CopyIn(ctx context.Context, ref *Ref, req drivers.CopyInRequest, archive io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	carrier := wire.OpenCarrier(ctx, c.dial)
	defer carrier.Close()
	stream, err := c.ControlClient.CopyIn(ctx)
	if err != nil {
		return err
	}
	// A failed send leaves the reason to Await, in Upload.
	start := &CopyInStart{Object: ref, Copy: wire.FromCopyIn(req, carrier)}
	_ = stream.Send(&CopyInRequest{Kind: &CopyInRequest_Start{Start: start}})
	return wire.Upload(cancel, copyInClient{stream}, carrier, archive)
}

// CopyOut writes an archive of what is at a path of a sandbox's container to w.
func (c *Client) CopyOut(ctx context.Context, ref *Ref, req drivers.CopyOutRequest, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	carrier := wire.OpenCarrier(ctx, c.dial)
	defer carrier.Close()
	stream, err := c.ControlClient.CopyOut(ctx, &CopyOutRequest{Object: ref, Copy: wire.FromCopyOut(req, carrier)})
	if err != nil {
		return err
	}
	return wire.Download(stream.Recv, carrier, w)
}

// Export writes an archive of a container's root file system to w.
func (c *Client) Export(ctx context.Context, req *ExportRequest, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ControlClient.Export(ctx, req)
	if err != nil {
		return err
	}
	return wire.Download(stream.Recv, nil, w)
}

// copyInClient puts pieces of an archive into requests.
type copyInClient struct {
	grpc.ClientStreamingClient[CopyInRequest, CopyInResponse]
}

func (c copyInClient) SendPiece(p []byte) error {
	return c.Send(&CopyInRequest{Kind: &CopyInRequest_Data{Data: p}})
}

func (c copyInClient) Await() error { return c.RecvMsg(new(CopyInResponse)) }
