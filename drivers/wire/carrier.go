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

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Carrier is a stream of bytes that carries an archive beside its call, where
// messages would cost too much. The call says when the archive was whole; that the
// bytes end says nothing. A nil Carrier is one that there is no need for.
type Carrier struct {
	ctx  context.Context //nolint:containedctx // the call's
	conn net.Conn
	name []byte
	stop func() bool
}

// NewCarrier makes one for a call of a connection that the call names by its id.
// Reads and writes end with ctx.
func NewCarrier(ctx context.Context, conn net.Conn, id []byte) *Carrier {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &Carrier{ctx: ctx, conn: conn, name: id, stop: stop}
}

// Close says that nothing more will be sent, and interrupts whoever sends.
func (c *Carrier) Close() error {
	if c == nil {
		return nil
	}
	c.stop()
	return c.conn.Close()
}

// ID is what the call names the carrier by.
func (c *Carrier) ID() []byte {
	if c == nil {
		return nil
	}
	return c.name
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

// Carriers finds the connection that a call names, which is then the caller's.
type Carriers func(id []byte) (net.Conn, bool)

// find returns nil if the call names none.
func (f Carriers) find(ctx context.Context, id []byte) (*Carrier, error) {
	if len(id) == 0 {
		return nil, nil //nolint:nilnil // messages carry it
	}
	if f == nil {
		return nil, fmt.Errorf("%w: there are no streams beside the calls", drivers.ErrInvalidArgument)
	}
	conn, ok := f(id)
	if !ok {
		return nil, status.Error(codes.Unavailable, "the stream that was to carry the archive is gone")
	}
	return NewCarrier(ctx, conn, id), nil
}

// carriedReader reads an archive from its carrier.
type carriedReader struct {
	carrier *Carrier
	// end returns io.EOF when the archive was whole.
	end func() ([]byte, error)
}

func (r *carriedReader) Read(p []byte) (int, error) {
	n, err := r.carrier.conn.Read(p)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, r.carrier.failure(err)
	}
	if _, err := r.end(); err != nil {
		return 0, receiveError(err)
	}
	return 0, errors.New("the call that a stream goes with sends data of its own")
}

// carriedUpload sends an archive beside its call.
type carriedUpload struct {
	UploadStream

	carrier *Carrier
}

func (u carriedUpload) SendPiece(p []byte) error { return u.carrier.send(p) }

func (u carriedUpload) CloseSend() error {
	return errors.Join(u.carrier.Close(), u.UploadStream.CloseSend())
}

// onlyWriter hides ReadFrom, which would use a buffer of its own.
type onlyWriter struct{ io.Writer }
