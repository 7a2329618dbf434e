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
// context that cancel ends.
func SendCopyIn[Resp any](cancel context.CancelFunc, stream grpc.ClientStreamingClient[CopyIn, Resp], req drivers.CopyInRequest, archive io.Reader) error {
	// A failed send leaves the reason to Await.
	_ = stream.Send(&CopyIn{Kind: &CopyIn_Start{Start: FromCopyIn(req)}})
	return Upload(cancel, copyInClient[Resp]{stream}, archive)
}

type copyInClient[Resp any] struct {
	grpc.ClientStreamingClient[CopyIn, Resp]
}

func (c copyInClient[Resp]) SendPiece(p []byte) error {
	return c.Send(&CopyIn{Kind: &CopyIn_Data{Data: p}})
}

func (c copyInClient[Resp]) Await() error { return c.RecvMsg(new(Resp)) }

// ServeCopyIn is the server's end of CopyIn; the error is a status error.
func ServeCopyIn(recv func() (*CopyIn, error), do func(drivers.CopyInRequest, io.Reader) error) error {
	first, err := recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return ToStatus(fmt.Errorf("copy in: %w: the first message of the stream must be a start", drivers.ErrInvalidArgument))
	}
	return ToStatus(do(ToCopyIn(start), NewPieceReader(func() ([]byte, error) {
		m, err := recv()
		return m.GetData(), err
	})))
}

// ServeCopyOut is the server's end of CopyOut; the error is a status error.
func ServeCopyOut(start *CopyOutStart, send func(*Piece) error, do func(drivers.CopyOutRequest, io.Writer) error) error {
	w := NewPieceWriter(func(p []byte) error { return send(&Piece{Data: p}) })
	err := do(ToCopyOut(start), w)
	if err == nil {
		err = w.Flush()
	}
	return ToStatus(err)
}
