package wire

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// The guest agent and the runtime plugins have the same calls for copies; what
// follows is both ends of them.

// SendCopyIn is the client's end of CopyIn, on a stream that was opened with a
// context that cancel ends. carrier, if not nil, carries the archive.
func SendCopyIn[Resp any](cancel context.CancelFunc, stream grpc.ClientStreamingClient[CopyIn, Resp], carrier *Carrier, req drivers.CopyInRequest, archive io.Reader) error {
	start := FromCopyIn(req)
	start.Stream = carrier.ID()
	// A failed send leaves the reason to Await.
	_ = stream.Send(&CopyIn{Kind: &CopyIn_Start{Start: start}})
	client := copyInClient[Resp]{stream}
	if carrier != nil {
		return Upload(cancel, carriedUpload{client, carrier}, archive)
	}
	return Upload(cancel, client, archive)
}

type copyInClient[Resp any] struct {
	grpc.ClientStreamingClient[CopyIn, Resp]
}

func (c copyInClient[Resp]) SendPiece(p []byte) error {
	return c.Send(&CopyIn{Kind: &CopyIn_Data{Data: p}})
}

func (c copyInClient[Resp]) Await() error { return c.RecvMsg(new(Resp)) }

// ServeCopyIn is the server's end of CopyIn; the error is a status error. carriers
// is nil where messages carry every archive.
func ServeCopyIn(ctx context.Context, recv func() (*CopyIn, error), carriers Carriers, do func(drivers.CopyInRequest, io.Reader) error) error {
	first, err := recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return ToStatus(fmt.Errorf("copy in: %w: the first message of the stream must be a start", drivers.ErrInvalidArgument))
	}
	next := func() ([]byte, error) {
		m, err := recv()
		return m.GetData(), err
	}
	archive := NewPieceReader(next)
	carrier, err := carriers.find(ctx, start.GetStream())
	if err != nil {
		return ToStatus(fmt.Errorf("copy in: %w", err))
	}
	if carrier != nil {
		defer carrier.Close()
		archive = &carriedReader{carrier: carrier, end: next}
	}
	return ToStatus(do(ToCopyIn(start), archive))
}

// Download writes what recv returns piece by piece to w, until its io.EOF. carrier,
// if not nil, carries it all, and recv has the end alone.
func Download(recv func() (*Piece, error), carrier *Carrier, w io.Writer) error {
	next := func() ([]byte, error) {
		m, err := recv()
		return m.GetData(), err
	}
	if carrier == nil {
		_, err := (&pieceReader{recv: next}).WriteTo(w)
		return err
	}
	_, err := io.CopyBuffer(onlyWriter{w}, &carriedReader{carrier: carrier, end: next}, make([]byte, pieceBytes))
	return err
}

// ServeCopyOut is the server's end of CopyOut; the error is a status error. carriers
// is nil where messages carry every archive.
func ServeCopyOut(ctx context.Context, start *CopyOutStart, send func(*Piece) error, carriers Carriers, do func(drivers.CopyOutRequest, io.Writer) error) error {
	carrier, err := carriers.find(ctx, start.GetStream())
	if err != nil {
		return ToStatus(fmt.Errorf("copy out: %w", err))
	}
	piece := func(p []byte) error { return send(&Piece{Data: p}) }
	if carrier != nil {
		// Before the call's own end, which then says whether all has come.
		defer carrier.Close()
		piece = carrier.send
	}
	w := NewPieceWriter(piece)
	err = do(ToCopyOut(start), w)
	if err == nil {
		err = w.Flush()
	}
	return ToStatus(err)
}
