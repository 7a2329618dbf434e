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
	// A failed send leaves the reason to Await.
	_ = stream.Send(&CopyIn{Kind: &CopyIn_Start{Start: FromCopyIn(req, carrier)}})
	return Upload(cancel, copyInClient[Resp]{stream}, carrier, archive)
}

type copyInClient[Resp any] struct {
	grpc.ClientStreamingClient[CopyIn, Resp]
}

func (c copyInClient[Resp]) SendPiece(p []byte) error {
	return c.Send(&CopyIn{Kind: &CopyIn_Data{Data: p}})
}

func (c copyInClient[Resp]) Await() error { return c.RecvMsg(new(Resp)) }

// ServeCopyIn is the server's end of CopyIn; the error is a status error. streams
// is nil where messages carry every archive.
func ServeCopyIn(ctx context.Context, recv func() (*CopyIn, error), streams *Streams, do func(drivers.CopyInRequest, io.Reader) error) error {
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
	return ServeUpload(ctx, next, streams, start.GetStream(), func(archive io.Reader) error {
		return do(ToCopyIn(start), archive)
	})
}

// ServeUpload is the server's end of a call that takes an archive, in the stream of
// an ID or, if that is empty, in what recv returns piece by piece. The error is a
// status error.
func ServeUpload(ctx context.Context, recv func() ([]byte, error), streams *Streams, id []byte, do func(io.Reader) error) error {
	carrier, err := streams.find(ctx, id)
	if err != nil {
		return err
	}
	defer carrier.Close()
	return ToStatus(do(carrier.reader(recv)))
}

// Download writes what recv returns piece by piece to w, until its io.EOF. carrier,
// if not nil, carries it all, and recv has the end alone.
func Download(recv func() (*Piece, error), carrier *Carrier, w io.Writer) error {
	next := func() ([]byte, error) {
		m, err := recv()
		return m.GetData(), err
	}
	_, err := io.CopyBuffer(onlyWriter{w}, carrier.reader(next), make([]byte, pieceBytes))
	return err
}

// ServeCopyOut is the server's end of CopyOut; the error is a status error. streams
// is nil where messages carry every archive.
func ServeCopyOut(ctx context.Context, start *CopyOutStart, send func(*Piece) error, streams *Streams, do func(drivers.CopyOutRequest, io.Writer) error) error {
	carrier, err := streams.find(ctx, start.GetStream())
	if err != nil {
		return ToStatus(err)
	}
	// Before the call's own end, which then says whether all has come.
	defer carrier.Close()
	piece := func(p []byte) error { return send(&Piece{Data: p}) }
	if carrier != nil {
		piece = carrier.send
	}
	w := NewPieceWriter(piece)
	err = do(ToCopyOut(start), w)
	if err == nil {
		err = w.Flush()
	}
	return ToStatus(err)
}
