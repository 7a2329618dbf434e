package wire

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// pieceBytes is the most that a message carries of an archive. A message costs
// the guest the same whether it is large or small; several of this size fit into
// the window of a stream, so that some are under way while one is handled.
const pieceBytes = 512 << 10

// PieceWriter makes a Writer of a function that sends pieces. What is written in
// large parts is sent without another copy; small parts are gathered until Flush.
type PieceWriter struct {
	send func([]byte) error
	buf  []byte
}

// NewPieceWriter returns a PieceWriter. send must not keep what it is given.
func NewPieceWriter(send func([]byte) error) *PieceWriter { return &PieceWriter{send: send} }

// Write sends p, or keeps it for later.
func (w *PieceWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		rest := p[n:]
		if len(rest) >= pieceBytes/2 {
			if err := w.Flush(); err != nil {
				return n, err
			}
			part := rest[:min(len(rest), pieceBytes)]
			if err := w.send(part); err != nil {
				return n, err
			}
			n += len(part)
			continue
		}
		if w.buf == nil {
			w.buf = make([]byte, 0, pieceBytes)
		}
		part := rest[:min(len(rest), pieceBytes-len(w.buf))]
		w.buf = append(w.buf, part...)
		n += len(part)
		if len(w.buf) == pieceBytes {
			if err := w.Flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Flush sends what was kept.
func (w *PieceWriter) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.send(w.buf)
	w.buf = w.buf[:0]
	return err
}

// pieceReader makes a Reader of a function that receives pieces.
type pieceReader struct {
	recv func() ([]byte, error)
	rest []byte
}

// NewPieceReader returns a Reader of what recv returns piece by piece, until its
// io.EOF. Other errors are made those of package drivers.
func NewPieceReader(recv func() ([]byte, error)) io.Reader { return &pieceReader{recv: recv} }

func (r *pieceReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		var err error
		if r.rest, err = r.recv(); err != nil {
			return 0, receiveError(err)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo hands pieces on as they come, without a copy of its own.
func (r *pieceReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if len(r.rest) > 0 {
			n, err := w.Write(r.rest)
			total += int64(n)
			r.rest = nil
			if err != nil {
				return total, err
			}
		}
		var err error
		if r.rest, err = r.recv(); errors.Is(err, io.EOF) {
			return total, nil
		} else if err != nil {
			return total, receiveError(err)
		}
	}
}

func receiveError(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return FromStatus(err)
}

// UploadStream is the client's end of a call that takes an archive.
type UploadStream interface {
	// SendPiece sends a piece of the archive.
	SendPiece(p []byte) error
	CloseSend() error
	// Await returns the error that the call ended with.
	Await() error
}

// Upload sends an archive, in the carrier if there is one, until the other end has
// had it, or wants no more. The caller cancels the stream's context after Upload
// returns; cancel is called when the archive cannot be read, so that the other end
// never takes a part for the whole. A read that is under way at the end goes on in a
// goroutine of its own.
func Upload(cancel context.CancelFunc, stream UploadStream, carrier *Carrier, archive io.Reader) error {
	if carrier != nil {
		stream = carriedUpload{stream, carrier}
	}
	failed := make(chan error, 1)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		var sendErr error
		w := NewPieceWriter(func(p []byte) error {
			sendErr = stream.SendPiece(p)
			return sendErr
		})
		_, err := io.CopyBuffer(w, onlyReader(archive), make([]byte, pieceBytes))
		if err == nil {
			err = w.Flush()
		}
		switch {
		case sendErr != nil:
			// The stream is over: Await has the reason, or is about to. If it has none
			// it was the carrier alone that broke.
			select {
			case <-ended:
			case <-time.After(lingerTime):
				failed <- sendErr
				cancel()
			}
		case err != nil:
			failed <- err
			cancel()
		default:
			_ = stream.CloseSend()
		}
	}()
	err := stream.Await()
	select {
	case read := <-failed:
		return read
	default:
	}
	return FromStatus(err)
}

// onlyReader hides all but Read and WriteTo.
func onlyReader(r io.Reader) io.Reader {
	if w, ok := r.(*pieceReader); ok {
		return w
	}
	return struct{ io.Reader }{r}
}

// FromCopyIn returns the message for a request whose archive the carrier brings.
func FromCopyIn(r drivers.CopyInRequest, carrier *Carrier) *CopyInStart {
	return &CopyInStart{
		Container: r.Container, Path: r.Path, Unpack: r.Unpack, KeepOwner: r.KeepOwner, Parents: r.Parents,
		Stream: carrier.ID(),
	}
}

// ToCopyIn is the reverse of FromCopyIn.
func ToCopyIn(m *CopyInStart) drivers.CopyInRequest {
	return drivers.CopyInRequest{
		Container: m.GetContainer(), Path: m.GetPath(), Unpack: m.GetUnpack(), KeepOwner: m.GetKeepOwner(), Parents: m.GetParents(),
	}
}

// FromCopyOut returns the message for a request whose archive the carrier brings.
func FromCopyOut(r drivers.CopyOutRequest, carrier *Carrier) *CopyOutStart {
	return &CopyOutStart{Container: r.Container, Path: r.Path, FollowLink: r.FollowLink, Stream: carrier.ID()}
}

// ToCopyOut is the reverse of FromCopyOut.
func ToCopyOut(m *CopyOutStart) drivers.CopyOutRequest {
	return drivers.CopyOutRequest{Container: m.GetContainer(), Path: m.GetPath(), FollowLink: m.GetFollowLink()}
}
