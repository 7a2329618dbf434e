package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// agent answers Info with what it is made with.
type agent struct {
	agentpb.UnimplementedAgentServer
	info    *agentpb.InfoResponse
	streams *wire.Streams
}

func (a agent) Info(context.Context, *agentpb.InfoRequest) (*agentpb.InfoResponse, error) {
	return a.info, nil
}

// port is a stand-in for a hypervisor's: it takes the host's connection whether
// or not the guest is there.
func port(t *testing.T) (dial func(context.Context) (net.Conn, error), guest func() net.Conn) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "port"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
	}
	guest = func() net.Conn {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return nil
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return dial, guest
}

func serve(t *testing.T, conn io.ReadWriteCloser, a agent) {
	t.Helper()
	l, err := Accept(conn, &wire.Streams{})
	if err != nil {
		t.Error(err)
		return
	}
	s := grpc.NewServer(ServerOptions()...)
	agentpb.RegisterAgentServer(s, a)
	t.Cleanup(s.Stop)
	_ = s.Serve(l)
}

func connect(t *testing.T, dial func(context.Context) (net.Conn, error)) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := Connect(ctx, dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func wantInfo(t *testing.T, c *Client) {
	t.Helper()
	info, err := c.Agent.Info(t.Context(), &agentpb.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if info.GetBootId() != "boot" {
		t.Errorf("boot id = %q, want %q", info.GetBootId(), "boot")
	}
}

var info = agent{info: &agentpb.InfoResponse{BootId: "boot"}}

func TestConnectReachesAnAgentThatIsThere(t *testing.T) {
	dial, guest := port(t)
	go func() { serve(t, guest(), info) }()
	wantInfo(t, connect(t, dial))
}

func TestConnectWaitsForAGuestThatStillBoots(t *testing.T) {
	dial, guest := port(t)
	go func() {
		conn := guest()
		// Several HELLOs are under way before the guest reads the first.
		<-time.After(250 * time.Millisecond)
		serve(t, conn, info)
	}()
	wantInfo(t, connect(t, dial))
}

func TestConnectRetriesWhileNobodyListens(t *testing.T) {
	dial, guest := port(t)
	go func() { serve(t, guest(), info) }()
	refusals := 3
	wantInfo(t, connect(t, func(ctx context.Context) (net.Conn, error) {
		if refusals--; refusals >= 0 {
			return nil, errors.New("connection refused")
		}
		return dial(ctx)
	}))
}

func TestStaleBytesOfAnEarlierSessionAreSkipped(t *testing.T) {
	dial, guest := port(t)
	stale := bytes.Join([][]byte{
		bytes.Repeat([]byte("left over\xff"), 9000),
		[]byte(magic), // a frame cut short
		newFrame(kindAck).bytes(),
		newFrame(kindHello).bytes(),
		[]byte(magic[:3]),
	}, nil)
	go func() {
		conn := guest()
		if _, err := conn.Write(stale); err != nil {
			t.Error(err)
		}
		serve(t, conn, info)
	}()
	wantInfo(t, connect(t, func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err == nil {
			_, err = c.Write(stale)
		}
		return c, err
	}))
}

func TestHostRedialsAGuestAmidAnotherSession(t *testing.T) {
	dial, guest := port(t)
	go func() {
		deaf := guest()
		go func() { _, _ = io.Copy(io.Discard, deaf) }()
		if _, err := deaf.Write([]byte("half a message")); err != nil {
			t.Error(err)
		}
		serve(t, guest(), info)
	}()
	wantInfo(t, connect(t, dial))
}

func TestConnectGivesUpWithItsContextAndSaysWhy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, func(context.Context) (net.Conn, error) {
		return nil, errors.New("no such socket")
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no such socket") {
		t.Errorf("error = %v, want the deadline and the cause", err)
	}
}

func TestConnectInterruptsAHandshakeNobodyAnswers(t *testing.T) {
	dial, guest := port(t)
	go guest()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, dial); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestDoneTellsThatTheGuestIsGone(t *testing.T) {
	dial, guest := port(t)
	conns := make(chan net.Conn, 1)
	go func() {
		conn := guest()
		conns <- conn
		serve(t, conn, info)
	}()
	c := connect(t, dial)
	wantInfo(t, c)
	(<-conns).Close()
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("Done is still open")
	}
}

func TestStreamsGoBesideTheCalls(t *testing.T) {
	dial, guest := port(t)
	streams := &wire.Streams{}
	go func() {
		l, err := Accept(guest(), streams)
		if err != nil {
			t.Error(err)
			return
		}
		s := grpc.NewServer(ServerOptions()...)
		agentpb.RegisterAgentServer(s, agent{info: info.info, streams: streams})
		t.Cleanup(s.Stop)
		_ = s.Serve(l)
	}()
	c := connect(t, dial)
	wantInfo(t, c)
	text := bytes.Repeat([]byte("0123456789abcdef"), streamBytes/4)
	for range 2 * maxStreams {
		carrier := wire.OpenCarrier(t.Context(), c.DialStream)
		if carrier == nil {
			t.Fatal("no carrier")
		}
		out, err := c.Agent.CopyOut(t.Context(), wire.FromCopyOut(drivers.CopyOutRequest{Path: string(text)}, carrier))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := wire.Download(out.Recv, carrier, &got); err != nil || !bytes.Equal(got.Bytes(), text) {
			t.Fatalf("%d bytes came, want %d, %v", got.Len(), len(text), err)
		}
		carrier.Close()
	}
	wantInfo(t, c)
	for range maxStreams {
		if wire.OpenCarrier(t.Context(), c.DialStream) == nil {
			t.Fatal("no carrier")
		}
	}
	if wire.OpenCarrier(t.Context(), c.DialStream) != nil {
		t.Error("one carrier too many")
	}
}

// CopyOut sends the path itself.
func (a agent) CopyOut(m *wire.CopyOutStart, stream grpc.ServerStreamingServer[wire.Piece]) error {
	return wire.ServeCopyOut(stream.Context(), m, stream.Send, a.streams, func(req drivers.CopyOutRequest, w io.Writer) error {
		_, err := io.WriteString(w, req.Path)
		return err
	})
}

func TestOlderAgentHasNoStreams(t *testing.T) {
	dial, guest := port(t)
	go func() {
		session, err := accept(guest())
		if err != nil {
			t.Error(err)
			return
		}
		s := grpc.NewServer()
		agentpb.RegisterAgentServer(s, info)
		t.Cleanup(s.Stop)
		_ = s.Serve(session)
	}()
	c := connect(t, dial)
	if wire.OpenCarrier(t.Context(), c.DialStream) != nil {
		t.Error("there is a carrier")
	}
	wantInfo(t, c)
}

func TestHostRefusesAnOversizedAnswer(t *testing.T) {
	dial, guest := port(t)
	big := agent{info: &agentpb.InfoResponse{KernelVersion: strings.Repeat("x", MaxResponseBytes+1)}}
	go func() {
		l, err := Accept(guest(), &wire.Streams{})
		if err != nil {
			t.Error(err)
			return
		}
		s := grpc.NewServer() // one without our bounds
		agentpb.RegisterAgentServer(s, big)
		t.Cleanup(s.Stop)
		_ = s.Serve(l)
	}()
	_, err := connect(t, dial).Agent.Info(t.Context(), &agentpb.InfoRequest{})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("error = %v, want %v", err, codes.ResourceExhausted)
	}
}

func FuzzScanner(f *testing.F) {
	hello := newFrame(kindHello)
	f.Add([]byte{}, []byte{})
	f.Add([]byte("junk"), []byte(magic))
	f.Add([]byte(magic+"H"), []byte("\xff\xff"))
	f.Add(hello.bytes()[:frameLen-1], hello.bytes())
	f.Fuzz(func(t *testing.T, before, after []byte) {
		want := newFrame(kindGo)
		s := newScanner(bytes.NewReader(bytes.Join([][]byte{before, want.bytes(), after}, nil)))
		for {
			got, err := s.next()
			if err != nil {
				t.Fatalf("the frame was lost: %v", err)
			}
			if got == want {
				break
			}
		}
		rest, err := io.ReadAll(s.r)
		if err != nil || !bytes.Equal(rest, after) {
			t.Errorf("what follows the frame = %q, %v; want %q", rest, err, after)
		}
	})
}
