package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Carrier is a stream beside the calls that carries an archive. Its call says when
// that was whole: that the bytes end says nothing. A nil Carrier means that the
// call's messages carry it.
type Carrier struct {
	id   []byte
	ctx  context.Context //nolint:containedctx // the call's
	conn net.Conn
	stop func() bool
}

// OpenCarrier opens one on a connection that dial makes to the server, for a call
// whose context is ctx. It is nil if dial is, if the server has no streams, and if
// it cannot be reached: the call then says why.
func OpenCarrier(ctx context.Context, dial func(context.Context) (net.Conn, error)) *Carrier {
	if dial == nil {
		return nil
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil
	}
	id, err := greetStream(ctx, conn)
	if err != nil {
		conn.Close()
		return nil
	}
	return newCarrier(ctx, conn, id)
}

// find returns the carrier that a call names.
func (s *Streams) find(ctx context.Context, id []byte) (*Carrier, error) {
	if len(id) == 0 {
		return nil, nil //nolint:nilnil // see Carrier
	}
	conn := s.claim(id)
	if conn == nil {
		return nil, status.Error(codes.Unavailable, "the stream that was to carry the archive is gone")
	}
	return newCarrier(ctx, conn, id), nil
}

func newCarrier(ctx context.Context, conn net.Conn, id []byte) *Carrier {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &Carrier{id: id, ctx: ctx, conn: conn, stop: stop}
}

// ID is what the call names the carrier by.
func (c *Carrier) ID() []byte {
	if c == nil {
		return nil
	}
	return c.id
}

// Close gives the carrier up and interrupts whoever uses it.
func (c *Carrier) Close() {
	if c == nil {
		return
	}
	c.stop()
	c.conn.Close()
}

// closeWrite lets the other end see that nothing more will be sent.
func (c *Carrier) closeWrite() error {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.conn.Close() // which is no more than that for a stream of yamux's
}

func (c *Carrier) send(p []byte) error {
	_, err := c.conn.Write(p)
	return c.failure(err)
}

// failure tells the call's end from what it does to the connection.
func (c *Carrier) failure(err error) error {
	if err != nil && !errors.Is(err, io.EOF) && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	return err
}

// reader returns a Reader of an archive: the carrier's or, if that is nil, of the
// pieces that recv returns until its io.EOF.
func (c *Carrier) reader(recv func() ([]byte, error)) io.Reader {
	if c == nil {
		return NewPieceReader(recv)
	}
	return &carriedReader{carrier: c, end: recv}
}

// carriedReader reads an archive from its carrier.
type carriedReader struct {
	carrier *Carrier
	// end waits for the call's end and returns io.EOF when the archive was whole.
	end func() ([]byte, error)
	err error
}

func (r *carriedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.carrier.conn.Read(p)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, r.carrier.failure(err)
	}
	if _, err := r.end(); err != nil {
		r.err = receiveError(err)
	} else {
		r.err = fmt.Errorf("copy: %w", errMixed)
	}
	return 0, r.err
}

var errMixed = errors.New("a call that a stream carries the archive of sends data of its own")

// carriedUpload sends an archive beside its call.
type carriedUpload struct {
	UploadStream

	carrier *Carrier
}

func (u carriedUpload) SendPiece(p []byte) error { return u.carrier.send(p) }

func (u carriedUpload) CloseSend() error {
	return errors.Join(u.carrier.closeWrite(), u.UploadStream.CloseSend())
}

// onlyWriter hides ReadFrom, which would use a buffer of its own.
type onlyWriter struct{ io.Writer }
