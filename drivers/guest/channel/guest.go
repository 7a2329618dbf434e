package channel

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// Host is the guest's connection to its host. As a net.Listener it yields the
// streams that the host opens for gRPC; Close only ends that, so that a server
// which stops can still see its last answers off with Flush.
type Host struct {
	session *yamux.Session
	streams *wire.Streams
	// accepting ends with stop.
	accepting context.Context
	stop      context.CancelFunc
}

// Accept does the guest's part of the handshake on conn. It blocks until the
// host has come. When the host leaves, or Hangup is called, conn is closed; on
// an error too. streams gets the streams that are not gRPC's.
func Accept(conn io.ReadWriteCloser, streams *wire.Streams) (*Host, error) {
	session, err := accept(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake with the host: %w", err)
	}
	h := &Host{session: session, streams: streams}
	h.accepting, h.stop = context.WithCancel(context.Background())
	return h, nil
}

// Accept waits for the next stream of gRPC's, and keeps the others.
func (h *Host) Accept() (net.Conn, error) {
	for {
		stream, err := h.session.AcceptStreamWithContext(h.accepting)
		if err != nil {
			return nil, err
		}
		calls, err := h.streams.Sort(stream)
		switch {
		case err != nil:
			stream.Close()
		case calls != nil:
			return calls, nil
		}
	}
}

// Addr is the guest's address, which says nothing.
func (h *Host) Addr() net.Addr { return h.session.Addr() }

// Close lets Accept return; streams go on.
func (h *Host) Close() error {
	h.stop()
	return nil
}

// Flush returns when the host has got all that was sent on streams so far.
func (h *Host) Flush() error {
	_, err := h.session.Ping()
	return err
}

// Hangup ends the connection.
func (h *Host) Hangup() error {
	h.stop()
	return h.session.Close()
}

func accept(conn io.ReadWriteCloser) (*yamux.Session, error) {
	s := newScanner(conn)
	var hello frame
	for {
		f, err := s.next()
		if err != nil {
			return nil, err
		}
		switch f.kind {
		case kindHello:
			hello = f
			if _, err := conn.Write(f.as(kindAck).bytes()); err != nil {
				return nil, err
			}
		case kindGo:
			if f == hello.as(kindGo) {
				return yamux.Server(joined{s.r, &frameWriter{WriteCloser: conn}}, sessionConfig())
			}
		}
	}
}

// ServerOptions are what a gRPC server on such listeners needs.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxRequestBytes),
		grpc.MaxSendMsgSize(MaxResponseBytes),
		grpc.WriteBufferSize(grpcWrite),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
	}
}
