package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// segments is one end of a stream in memory.
type segments struct {
	ctx      context.Context //nolint:containedctx // the stream's
	in       <-chan *Segment
	out      chan<- *Segment
	finished <-chan struct{} // of the other end
	result   *error          // what it ended with
}

func (s *segments) SendSegment(m *Segment) error {
	select {
	case s.out <- m:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-s.finished:
		return io.EOF
	}
}

func (s *segments) RecvSegment() (*Segment, error) {
	select {
	case m := <-s.in:
		return m, nil
	default:
	}
	select {
	case m := <-s.in:
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	case <-s.finished:
		select {
		case m := <-s.in:
			return m, nil
		default:
			return nil, *s.result
		}
	}
}

// tunnelTo dials through a tunnel; serve is its other end's RPC handler.
func tunnelTo(ctx context.Context, serve func(ctx context.Context, stream SegmentStream) error) (drivers.Conn, error) {
	return Dial(ctx, func(ctx context.Context) (SegmentStream, error) {
		up, down := make(chan *Segment, 100), make(chan *Segment, 100)
		finished, result := make(chan struct{}), error(nil)
		go func() {
			handler, cancel := context.WithCancel(ctx)
			defer cancel()
			if result = serve(handler, &segments{ctx: handler, in: up, out: down}); result == nil {
				result = io.EOF
			}
			close(finished)
		}()
		return &segments{ctx: ctx, in: down, out: up, finished: finished, result: &result}, nil
	})
}

// serving returns the handler for connections to what target does.
func serving(target func(drivers.Conn)) func(context.Context, SegmentStream) error {
	return func(ctx context.Context, stream SegmentStream) error {
		return ServeDial(ctx, stream, func(context.Context) (drivers.Conn, error) {
			ours, theirs := duplex()
			go target(theirs)
			return ours, nil
		})
	}
}

// duplex returns the ends of a connection in memory.
func duplex() (drivers.Conn, drivers.Conn) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return &half{ar, aw}, &half{br, bw}
}

type half struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (h *half) Write(p []byte) (int, error) { return h.w.Write(p) }
func (h *half) CloseWrite() error           { return h.w.Close() }
func (h *half) Close() error                { return errors.Join(h.w.Close(), h.PipeReader.Close()) }

func TestTunnelCarriesAllBothWaysAndEachEnd(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB, many windows
	conn, err := tunnelTo(t.Context(), serving(func(c drivers.Conn) {
		_, _ = io.Copy(c, c)
		_ = c.CloseWrite()
	}))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = conn.Write(data)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("write after close: no error")
	}
}

func TestWhatWasWrittenBeforeCloseArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 1)
		conn, err := tunnelTo(t.Context(), serving(func(c drivers.Conn) {
			data, _ := io.ReadAll(c)
			got <- string(data)
			_ = c.Close()
		}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "the last words"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if text := <-got; text != "the last words" {
			t.Errorf("got %q", text)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read after close: %v", err)
		}
	})
}

func TestACloseDoesNotWaitForAnEndThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		conn, err := tunnelTo(t.Context(), serving(func(c drivers.Conn) {
			_, _ = io.Copy(io.Discard, c)
			defer close(ended)
			for { // it has no end of its own, and says nothing
				if _, err := c.Write(nil); err != nil {
					return
				}
				time.Sleep(time.Second) //nolint:forbidigo // in a bubble
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_ = conn.Close()
		if took := time.Since(start); took > 0 {
			t.Errorf("close took %s", took)
		}
		<-ended
		if took := time.Since(start); took > 2*lingerTime {
			t.Errorf("the other end was let go after %s", took)
		}
	})
}

func TestWriterWaitsForTheReaderWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		conn, err := tunnelTo(t.Context(), serving(func(c drivers.Conn) {
			<-release
			n, _ := io.Copy(io.Discard, c)
			_, _ = fmt.Fprint(c, n)
			_ = c.CloseWrite()
		}))
		if err != nil {
			t.Fatal(err)
		}
		const size = 1 << 20
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			_, _ = conn.Write(make([]byte, size))
			_ = conn.CloseWrite()
		}()
		synctest.Wait()
		select {
		case <-wrote:
			t.Fatal("all was written though nobody reads")
		default:
		}
		close(release)
		text, err := io.ReadAll(conn)
		if err != nil || string(text) != fmt.Sprint(size) {
			t.Errorf("the other end got %s bytes, %v", text, err)
		}
		_ = conn.Close()
	})
}

func TestDialFailsAsTheOtherEndDoes(t *testing.T) {
	_, err := tunnelTo(t.Context(), func(ctx context.Context, stream SegmentStream) error {
		return ServeDial(ctx, stream, func(context.Context) (drivers.Conn, error) {
			return nil, fmt.Errorf("%w: nothing listens", drivers.ErrRefused)
		})
	})
	if !errors.Is(err, drivers.ErrRefused) || !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = tunnelTo(ctx, func(ctx context.Context, _ SegmentStream) error {
		<-ctx.Done() // never opens
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// A guest may send what it likes.
func TestTunnelIsNotFooled(t *testing.T) {
	opened := &Segment{Kind: &Segment_Opened{Opened: true}}
	data := func(n int) *Segment { return &Segment{Kind: &Segment_Data{Data: make([]byte, n)}} }
	for name, tc := range map[string]struct {
		sends []*Segment
		want  string
	}{
		"data before it is open":   {[]*Segment{data(1)}, "does not begin"},
		"nothing":                  {nil, "ended before"},
		"more than the window":     {[]*Segment{opened, data(tunnelWindow + 1)}, "window"}, // at once: a reader may take what comes before
		"an end in the middle":     {[]*Segment{opened, data(1)}, "unexpected EOF"},
		"credit without end":       {[]*Segment{opened, {Kind: &Segment_Taken{Taken: 1 << 62}}, {Kind: &Segment_Taken{Taken: -1 << 62}}}, "unexpected EOF"},
		"segments that are empty":  {[]*Segment{opened, {}, nil}, "unexpected EOF"},
		"what comes after the end": {[]*Segment{opened, {Kind: &Segment_CloseWrite{}}, data(1)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := tunnelTo(t.Context(), func(_ context.Context, stream SegmentStream) error {
				for _, s := range tc.sends {
					if err := stream.SendSegment(s); err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil {
				_, err = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
			if got := fmt.Sprint(err); tc.want == "" && err != nil || !strings.Contains(got, tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// tcp returns the two ends of a connection.
func tcp(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestClientOfABrokenConnectionIsReset(t *testing.T) {
	client, server := tcp(t)
	ours, theirs := duplex()
	go func() { _ = Join(t.Context(), server, ours) }()
	if _, err := theirs.Write([]byte("half of it")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, len("half of it"))); err != nil {
		t.Fatal(err)
	}
	_ = theirs.(*half).w.CloseWithError(errors.New("the machine is gone"))
	if n, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestJoinKeepsOneDirectionWhenTheOtherEnds(t *testing.T) {
	client, server := tcp(t)
	ours, theirs := duplex()
	joined := make(chan error, 1)
	go func() { joined <- Join(t.Context(), server, ours) }()
	_ = theirs.CloseWrite() // nothing comes from there
	if data, err := io.ReadAll(client); err != nil || len(data) > 0 {
		t.Fatalf("read %q, %v", data, err)
	}
	go func() {
		_, _ = io.WriteString(client, "but it listens")
		_ = client.CloseWrite()
	}()
	if data, err := io.ReadAll(theirs); err != nil || string(data) != "but it listens" {
		t.Errorf("read %q, %v", data, err)
	}
	if err := <-joined; err != nil {
		t.Errorf("Join: %v", err)
	}
}

func TestJoinEndsWithItsContextAndWithABrokenEnd(t *testing.T) {
	for name, end := range map[string]func(cancel func(), far drivers.Conn){
		"context": func(cancel func(), _ drivers.Conn) { cancel() },
		"broken":  func(_ func(), far drivers.Conn) { _ = far.(*half).w.CloseWithError(errors.New("reset")) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a, farA := duplex()
			b, farB := duplex()
			joined := make(chan error, 1)
			go func() { joined <- Join(ctx, a, b) }()
			end(cancel, farA)
			if err := <-joined; err == nil {
				t.Error("no error")
			}
			if _, err := farB.Write([]byte("x")); err == nil {
				t.Error("the other end is still open")
			}
		})
	}
}
