package api

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// Dial connects to an address in a sandbox. ctx bounds the connecting only.
func (c *Client) Dial(ctx context.Context, object *Ref, to drivers.Address) (drivers.Conn, error) {
	if err := to.Check(); err != nil {
		return nil, err
	}
	return wire.Dial(ctx, func(ctx context.Context) (wire.SegmentStream, error) {
		stream, err := c.ControlClient.Dial(ctx)
		if err != nil {
			return nil, err
		}
		start := &DialStart{Object: object, Address: wire.FromAddress(to)}
		// A failed send leaves the reason to the first receive.
		_ = stream.Send(&DialRequest{Kind: &DialRequest_Start{Start: start}})
		return dialClient{stream}, nil
	})
}

// dialClient puts segments into Dial's requests.
type dialClient struct {
	grpc.BidiStreamingClient[DialRequest, wire.Segment]
}

func (c dialClient) SendSegment(m *wire.Segment) error {
	return c.Send(&DialRequest{Kind: &DialRequest_Segment{Segment: m}})
}

func (c dialClient) RecvSegment() (*wire.Segment, error) { return c.Recv() }

func (s *server) Dial(stream grpc.BidiStreamingServer[DialRequest, wire.Segment]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return fmt.Errorf("dial: %w: the first message must say where to", drivers.ErrInvalidArgument)
	}
	to, err := wire.ToAddress(start.GetAddress())
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	return wire.ServeDial(stream.Context(), dialServer{stream}, func(ctx context.Context) (drivers.Conn, error) {
		return s.backend.Dial(ctx, start.GetObject(), to)
	})
}

// dialServer takes the segments out of Dial's requests.
type dialServer struct {
	grpc.BidiStreamingServer[DialRequest, wire.Segment]
}

func (s dialServer) SendSegment(m *wire.Segment) error { return s.Send(m) }

func (s dialServer) RecvSegment() (*wire.Segment, error) {
	m, err := s.Recv()
	return m.GetSegment(), err
}
