package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// Bulk data costs the guest several times as much through gRPC, which cuts it into
// frames of 16 KiB and copies each more than once, as the channel itself. So the
// host can open streams that carry bytes alone, beside the one that is gRPC's. What
// they are for is agreed by a call, which names the stream by its ID.
//
//	host  → STREAM n   the first bytes of such a stream; n is its ID
//	guest → ACK n      from now on a call can name it
//
// An agent that is older takes the first for bad gRPC and hangs up.
const kindStream byte = 'S'

// maxStreams bounds the streams beside gRPC's at one time, and with it what their
// windows hold: of the guest's memory, and of the host's when the guest keeps them
// open.
const maxStreams = 4

// ErrNoStream means that there is no stream to be had beside gRPC, and that calls
// have to carry the data themselves: the agent is older, or enough are open.
var ErrNoStream = errors.New("no stream beside the calls")

// Stream carries bytes beside gRPC. Its Close says that no more will be written
// and, when both ends have called it, gives the stream up.
type Stream struct {
	net.Conn

	// ID is what a call names the stream by.
	ID []byte
}

// OpenStream opens a stream beside gRPC. ctx has no bearing on the stream that it
// returns.
func (c *Client) OpenStream(ctx context.Context) (*Stream, error) {
	if c.session.NumStreams() > maxStreams {
		return nil, fmt.Errorf("%w: %d are open", ErrNoStream, maxStreams)
	}
	conn, err := c.session.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("open a stream to the guest's agent: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	hello := newFrame(kindStream)
	err = greetStream(conn, hello)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return &Stream{Conn: conn, ID: hello.nonce[:]}, nil
}

func greetStream(conn net.Conn, hello frame) error {
	if _, err := conn.Write(hello.bytes()); err != nil {
		return err
	}
	answer := make([]byte, frameLen)
	_, err := io.ReadFull(conn, answer)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the agent hung up", ErrNoStream)
	}
	if err != nil {
		return err
	}
	if f, ok := parseFrame(answer); !ok || f != hello.as(kindAck) {
		return fmt.Errorf("%w: the agent does not know of any", ErrNoStream)
	}
	return nil
}

// streams are those that the host has opened and no call has named yet.
type streams struct {
	mu      sync.Mutex
	waiting map[[nonceLen]byte]net.Conn
}

// Stream hands over the stream of an ID, once.
func (h *Host) Stream(id []byte) (net.Conn, bool) {
	if len(id) != nonceLen {
		return nil, false
	}
	h.streams.mu.Lock()
	defer h.streams.mu.Unlock()
	conn, ok := h.streams.waiting[[nonceLen]byte(id)]
	delete(h.streams.waiting, [nonceLen]byte(id))
	return conn, ok
}

// take reads the rest of the frame that a stream begins with and keeps the stream.
func (s *streams) take(conn net.Conn) error {
	b := make([]byte, frameLen)
	b[0] = magic[0]
	if _, err := io.ReadFull(conn, b[1:]); err != nil {
		return err
	}
	hello, ok := parseFrame(b)
	if !ok || hello.kind != kindStream {
		return errNoFrame
	}
	s.mu.Lock()
	full := len(s.waiting) >= maxStreams
	if !full {
		if s.waiting == nil {
			s.waiting = map[[nonceLen]byte]net.Conn{}
		}
		s.waiting[hello.nonce] = conn
	}
	s.mu.Unlock()
	if full {
		return ErrNoStream
	}
	_, err := conn.Write(hello.as(kindAck).bytes())
	return err
}

// begun is a stream whose first byte was read.
type begun struct {
	*yamux.Stream

	first []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) > 0 && len(p) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.Stream.Read(p)
}
