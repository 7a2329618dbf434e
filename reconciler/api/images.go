package api

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

func (s *server) InspectImage(ctx context.Context, req *InspectImageRequest) (*InspectImageResponse, error) {
	return s.backend.InspectImage(ctx, req)
}

func (s *server) TagImage(ctx context.Context, req *TagImageRequest) (*TagImageResponse, error) {
	return &TagImageResponse{}, s.backend.TagImage(ctx, req)
}

func (s *server) PushImage(req *PushImageRequest, stream grpc.ServerStreamingServer[PushImageResponse]) error {
	return s.backend.PushImage(stream.Context(), req, stream.Send)
}

func (s *server) SaveImages(req *SaveImagesRequest, stream grpc.ServerStreamingServer[wire.Piece]) error {
	w := wire.NewPieceWriter(func(p []byte) error { return stream.Send(&wire.Piece{Data: p}) })
	if err := s.backend.SaveImages(stream.Context(), req, w); err != nil {
		return err
	}
	return w.Flush()
}

func (s *server) LoadImages(stream grpc.ClientStreamingServer[LoadImagesRequest, LoadImagesResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return fmt.Errorf("load images: %w: the first message must say how", drivers.ErrInvalidArgument)
	}
	resp, err := s.backend.LoadImages(stream.Context(), start, wire.NewPieceReader(func() ([]byte, error) {
		req, err := stream.Recv()
		return req.GetData(), err
	}))
	if err != nil {
		return err
	}
	return stream.SendAndClose(resp)
}

// SaveImages writes images as one archive to w.
func (c *Client) SaveImages(ctx context.Context, req *SaveImagesRequest, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ControlClient.SaveImages(ctx, req)
	if err != nil {
		return err
	}
	return wire.Download(stream.Recv, w)
}

// LoadImages sends an archive and returns the images that came of it. Cancelling ctx
// ends it; a read of the archive that is under way then goes on.
func (c *Client) LoadImages(ctx context.Context, req *LoadImagesStart, archive io.Reader) ([]*Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ControlClient.LoadImages(ctx)
	if err != nil {
		return nil, err
	}
	// A failed send leaves the reason to Await, in Upload.
	_ = stream.Send(&LoadImagesRequest{Kind: &LoadImagesRequest_Start{Start: req}})
	upload := &loadImagesClient{ClientStreamingClient: stream}
	err = wire.Upload(cancel, upload, archive)
	return upload.response.GetImages(), err
}

// loadImagesClient puts pieces of an archive into requests.
type loadImagesClient struct {
	grpc.ClientStreamingClient[LoadImagesRequest, LoadImagesResponse]
	response LoadImagesResponse
}

func (c *loadImagesClient) SendPiece(p []byte) error {
	return c.Send(&LoadImagesRequest{Kind: &LoadImagesRequest_Data{Data: p}})
}

func (c *loadImagesClient) Await() error { return c.RecvMsg(&c.response) }
