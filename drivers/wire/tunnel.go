package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	// tunnelWindow is how much of a connection may be on its way in one direction.
	tunnelWindow = stdinWindow
	// lingerTime is how long a connection that was closed may take to bring what
	// was written to the other end.
	lingerTime = 10 * time.Second
)

// SegmentStream is either end of a stream that carries one connection. Each
// service wraps Segment in a request of its own, hence the methods' names.
type SegmentStream interface {
	SendSegment(s *Segment) error
	RecvSegment() (*Segment, error)
}

// Dial returns the connection on the stream that open begins, once the other end
// says that it is there. open sends the address; the context that it gets is that
// of the connection, which outlives ctx.
func Dial(ctx context.Context, open func(context.Context) (SegmentStream, error)) (drivers.Conn, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	stream, err := open(life)
	if err == nil {
		err = awaitOpened(stream)
	}
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		end()
		return nil, FromStatus(err)
	}
	t := newTunnel(life, end, stream)
	t.dialled = true
	go t.receive()
	return t, nil
}

func awaitOpened(stream SegmentStream) error {
	first, err := stream.RecvSegment()
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the stream ended before the connection was there")
	case err != nil:
		return err
	case !first.GetOpened():
		return errors.New("the stream does not begin with the connection's opening")
	}
	return nil
}

// ServeDial carries the connection that dial makes on the stream until both of
// its directions have ended, or ctx does. The error is a status error already.
func ServeDial(ctx context.Context, stream SegmentStream, dial func(context.Context) (drivers.Conn, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return ToStatus(err)
	}
	defer conn.Close()
	if err := stream.SendSegment(&Segment{Kind: &Segment_Opened{Opened: true}}); err != nil {
		return err
	}
	t := newTunnel(ctx, cancel, stream)
	// Ends when the RPC handler returns: gRPC then fails RecvSegment.
	go t.receive()
	return ToStatus(Join(ctx, t, conn))
}

// tunnel is a connection on a stream of segments. Each end takes what comes at
// once, into a buffer that the window bounds: so no connection holds up another
// that shares the transport.
type tunnel struct {
	ctx    context.Context //nolint:containedctx // the stream's
	end    context.CancelFunc
	stream SegmentStream
	in     *inputPipe
	room   *window
	// dialled says that this is the end that dialled: it ends the stream, whereas
	// the other's ends with its RPC.
	dialled bool

	sending     sync.Mutex // SendSegment may be called by one goroutine at a time
	closedWrite bool

	mu     sync.Mutex
	closed bool  // Close was called
	ended  bool  // the other end sends no more
	err    error // why the stream ended; io.EOF if in good order
	done   chan struct{}
}

func newTunnel(ctx context.Context, end context.CancelFunc, stream SegmentStream) *tunnel {
	t := &tunnel{ctx: ctx, end: end, stream: stream, room: newWindow(tunnelWindow), done: make(chan struct{})}
	t.in = newInputPipe(func(n int64) { _ = t.send(&Segment{Kind: &Segment_Taken{Taken: n}}) })
	return t
}

func (t *tunnel) send(s *Segment) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	if err := t.ctx.Err(); err != nil {
		return t.failure(err)
	}
	return t.stream.SendSegment(s)
}

// receive takes in what comes until the stream ends.
func (t *tunnel) receive() {
	err := t.receiveAll()
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
	close(t.done)
	t.in.closeWrite()
	t.end()
}

func (t *tunnel) receiveAll() error {
	for {
		s, err := t.stream.RecvSegment()
		if err != nil {
			return err
		}
		switch k := s.GetKind().(type) {
		case *Segment_Data:
			t.mu.Lock()
			closed := t.closed
			t.mu.Unlock()
			if closed {
				return errors.New("the connection was closed")
			}
			if !t.in.write(k.Data) {
				return errors.New("the other end of the connection does not keep to the window")
			}
		case *Segment_CloseWrite:
			t.mu.Lock()
			t.ended = true
			t.mu.Unlock()
			t.in.closeWrite()
		case *Segment_Taken:
			t.room.add(k.Taken)
		}
	}
}

// failure returns why the stream ended, or err if that is not known.
func (t *tunnel) failure(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return io.ErrClosedPipe
	case t.err != nil && !errors.Is(t.err, io.EOF):
		return FromStatus(t.err)
	}
	return err
}

// Read returns io.EOF when the other end has sent all that it will.
func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	if errors.Is(err, io.EOF) {
		t.mu.Lock()
		ended := t.ended
		t.mu.Unlock()
		if !ended {
			err = t.failure(io.ErrUnexpectedEOF)
		}
	}
	return n, err
}

func (t *tunnel) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		most, ok := t.room.wait(t.ctx)
		if !ok {
			return n, t.failure(io.ErrClosedPipe)
		}
		part := p[:min(int64(len(p)), most, chunk)]
		t.room.add(-int64(len(part)))
		// The transport may keep the message beyond the call.
		if err := t.send(&Segment{Kind: &Segment_Data{Data: append([]byte(nil), part...)}}); err != nil {
			return n, t.failure(fmt.Errorf("write to the connection: %w", err))
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// CloseWrite lets the other end read io.EOF.
func (t *tunnel) CloseWrite() error {
	t.sending.Lock()
	defer t.sending.Unlock()
	if t.closedWrite {
		return nil
	}
	t.closedWrite = true
	if err := t.ctx.Err(); err != nil {
		return t.failure(err)
	}
	return t.stream.SendSegment(&Segment{Kind: &Segment_CloseWrite{CloseWrite: true}})
}

// Close ends the connection. What was written still reaches the other end, if it
// does so within a while.
func (t *tunnel) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	ended := t.ended
	t.mu.Unlock()
	_ = t.in.Close()
	if !t.dialled {
		return nil
	}
	lingered := make(chan struct{})
	go func() {
		defer close(lingered)
		t.linger()
	}()
	if ended {
		<-lingered // not for long: nothing is left to do at the other end
	}
	return nil
}

func (t *tunnel) linger() {
	limit := time.AfterFunc(lingerTime, t.end)
	defer limit.Stop()
	_ = t.CloseWrite()
	<-t.done
	t.end()
}

// Abort ends the connection at once; what is on its way is lost.
func (t *tunnel) Abort() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	_ = t.in.Close()
	t.end()
}
