package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Bulk data costs several times as much through gRPC, which cuts it into frames of
// 16 KiB and copies each more than once, as the connection itself, above all in an
// emulated guest. So a client can open streams that carry bytes alone, beside the
// connection that is gRPC's. What they are for is agreed by a call, which names the
// stream by its ID.
//
//	client → STREAM id   the first bytes of such a stream
//	server → STREAM id   from now on a call can name it
//
// A server that is older takes the first for bad gRPC, or bad TLS, and hangs up.
// The first byte is none that those begin with.
const (
	streamMagic = "\xffvzr/stream/1 "
	streamID    = 16
	helloBytes  = len(streamMagic) + streamID
)

const (
	// maxUnclaimed bounds the streams that no call has named yet.
	maxUnclaimed = 16
	// claimTime is how long one waits for its call.
	claimTime = time.Minute
)

// ErrNoStream means that there is no stream to be had beside the calls, which then
// carry the data themselves.
var ErrNoStream = errors.New("no stream beside the calls")

// greetStream makes a connection to a server one beside the calls, and returns
// its ID.
func greetStream(ctx context.Context, conn net.Conn) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	id := make([]byte, streamID)
	rand.Read(id) // never fails, see its documentation
	hello := streamMagic + string(id)
	answer := make([]byte, helloBytes)
	_, err := io.WriteString(conn, hello)
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	switch {
	case !stop():
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoStream, err)
	case string(answer) != hello:
		return nil, fmt.Errorf("%w: the server does not know of any", ErrNoStream)
	}
	return id, nil
}

// Streams are those that a server's clients have opened and that no call has
// named yet. The zero value is ready.
type Streams struct {
	mu      sync.Mutex
	waiting map[string]unclaimed
}

type unclaimed struct {
	conn net.Conn
	drop *time.Timer
}

// Sort looks at what a new connection begins with. One that is gRPC's is returned,
// to be read from the beginning; any other is kept, and the result is nil.
func (s *Streams) Sort(conn net.Conn) (net.Conn, error) {
	hello := make([]byte, helloBytes)
	if _, err := io.ReadFull(conn, hello[:1]); err != nil {
		return nil, err
	}
	if hello[0] != streamMagic[0] {
		return &begun{Conn: conn, first: hello[:1]}, nil
	}
	if _, err := io.ReadFull(conn, hello[1:]); err != nil {
		return nil, err
	}
	id, ok := strings.CutPrefix(string(hello), streamMagic)
	if !ok {
		return nil, errors.New("a connection begins with nothing that is known")
	}
	if !s.keep(id, conn) {
		return nil, ErrNoStream
	}
	if _, err := conn.Write(hello); err != nil {
		s.claim([]byte(id))
		return nil, err
	}
	return nil, nil //nolint:nilnil // it is kept
}

func (s *Streams) keep(id string, conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.waiting[id]; taken || len(s.waiting) >= maxUnclaimed {
		return false
	}
	if s.waiting == nil {
		s.waiting = map[string]unclaimed{}
	}
	s.waiting[id] = unclaimed{conn, time.AfterFunc(claimTime, func() {
		if conn := s.claim([]byte(id)); conn != nil {
			conn.Close()
		}
	})}
	return true
}

// claim returns a stream once; nil if it is not there, or s is nil.
func (s *Streams) claim(id []byte) net.Conn {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.waiting[string(id)]
	if !ok {
		return nil
	}
	delete(s.waiting, string(id))
	w.drop.Stop()
	return w.conn
}

// begun is a connection whose first byte was read.
type begun struct {
	net.Conn

	first []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) > 0 && len(p) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.Conn.Read(p)
}

// Credentials are c for the connections that are gRPC's; the others are kept.
func (s *Streams) Credentials(c credentials.TransportCredentials) credentials.TransportCredentials {
	return streamCredentials{c, s}
}

type streamCredentials struct {
	credentials.TransportCredentials

	streams *Streams
}

func (c streamCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	calls, err := c.streams.Sort(conn)
	switch {
	case err != nil:
		return nil, nil, err
	case calls == nil:
		_ = conn.SetDeadline(time.Time{}) // which was the handshake's
		return nil, nil, credentials.ErrConnDispatched
	}
	return c.TransportCredentials.ServerHandshake(calls)
}

func (c streamCredentials) Clone() credentials.TransportCredentials {
	return streamCredentials{c.TransportCredentials.Clone(), c.streams}
}
