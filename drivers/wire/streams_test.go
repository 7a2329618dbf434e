package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// sortingServer returns what dials a server that sorts its connections, whose
// streams they are, and the connections that are gRPC's.
func sortingServer(t *testing.T) (func(context.Context) (net.Conn, error), *Streams, <-chan net.Conn) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	streams, calls := &Streams{}, make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			switch sorted, err := streams.Sort(conn); {
			case err != nil:
				conn.Close()
			case sorted != nil:
				calls <- sorted
			}
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
	}, streams, calls
}

func openCarrier(t *testing.T, dial func(context.Context) (net.Conn, error)) *Carrier {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c := OpenCarrier(ctx, dial)
	t.Cleanup(c.Close)
	return c
}

func TestCarrierIsFoundOnce(t *testing.T) {
	dial, streams, _ := sortingServer(t)
	c := openCarrier(t, dial)
	found, err := streams.find(t.Context(), c.ID())
	if err != nil || found == nil {
		t.Fatalf("the carrier is %v, %v", found, err)
	}
	found.Close()
	for _, id := range [][]byte{c.ID(), []byte("x")} {
		if again, err := streams.find(t.Context(), id); err == nil {
			t.Errorf("%x is found: %v", id, again)
		}
	}
	if none, err := (*Streams)(nil).find(t.Context(), c.ID()); err == nil {
		t.Errorf("found where there are no streams: %v", none)
	}
	if none, err := streams.find(t.Context(), nil); none != nil || err != nil {
		t.Errorf("no name finds %v, %v", none, err)
	}
}

func TestCallsAreReadFromTheBeginning(t *testing.T) {
	dial, _, calls := sortingServer(t)
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	if _, err := io.WriteString(conn, preface); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	got, err := io.ReadAll(iotest.OneByteReader(<-calls))
	if string(got) != preface || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestThereMayBeNoCarrier(t *testing.T) {
	dial, _, _ := sortingServer(t)
	for range maxUnclaimed {
		if openCarrier(t, dial) == nil {
			t.Fatal("no carrier")
		}
	}
	answers := func(what string) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				_, _ = io.CopyN(io.Discard, theirs, int64(helloBytes))
				_, _ = io.WriteString(theirs, what)
				theirs.Close()
			}()
			return ours, nil
		}
	}
	for name, dial := range map[string]func(context.Context) (net.Conn, error){
		"nobody dials":         nil,
		"too many":             dial,
		"not to be had":        func(context.Context) (net.Conn, error) { return nil, ErrNoStream },
		"a server hangs up":    answers(""),
		"it answers as HTTP":   answers("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"),
		"it answers at length": answers(strings.Repeat("x", 100)),
	} {
		if c := openCarrier(t, dial); c != nil {
			t.Errorf("%s: there is a carrier", name)
		}
	}
}

func TestOpeningEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	carrier := OpenCarrier(ctx, func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.CopyN(io.Discard, theirs, int64(helloBytes))
			cancel()
		}()
		return ours, nil
	})
	if carrier != nil || ctx.Err() == nil {
		t.Errorf("there is a carrier: %v", carrier)
	}
}

// call is both ends of a call that a carrier goes with.
type call struct {
	ctx    context.Context //nolint:containedctx // the call's
	sent   chan struct{}   // closed by CloseSend
	result chan error
}

func (c *call) SendPiece([]byte) error { return errors.New("a message carries the archive") }
func (c *call) CloseSend() error       { close(c.sent); return nil }

func (c *call) Await() error {
	select {
	case err := <-c.result:
		return err
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// recv is what the server receives: nothing, then the end.
func (c *call) recv() ([]byte, error) {
	select {
	case <-c.sent:
		return nil, io.EOF
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
}

func TestCarriedArchiveIsWholeOrAnError(t *testing.T) {
	broken := errors.New("broken")
	text := bytes.Repeat([]byte("0123456789abcdef"), pieceBytes/4)
	for name, tc := range map[string]struct {
		archive io.Reader
		serve   func(io.Reader) error // nil: reads it all
		want    error
		brings  []byte
	}{
		"whole":       {archive: bytes.NewReader(text), brings: text},
		"empty":       {archive: bytes.NewReader(nil)},
		"cannot read": {archive: io.MultiReader(bytes.NewReader(text), iotest.ErrReader(broken)), want: broken},
		"refused":     {archive: endlessZeroes{}, serve: func(io.Reader) error { return drivers.ErrInvalidState }, want: drivers.ErrInvalidState},
	} {
		t.Run(name, func(t *testing.T) {
			dial, streams, _ := sortingServer(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			carrier := openCarrier(t, dial)
			c := &call{ctx: ctx, sent: make(chan struct{}), result: make(chan error, 1)}
			var got bytes.Buffer
			read := make(chan error, 1)
			go func() {
				c.result <- ServeUpload(ctx, c.recv, streams, carrier.ID(), func(archive io.Reader) error {
					if tc.serve != nil {
						read <- nil
						return tc.serve(archive)
					}
					_, err := got.ReadFrom(archive)
					read <- err
					return err
				})
			}()
			if err := Upload(cancel, c, carrier, tc.archive); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			carrier.Close()
			err := <-read
			switch {
			case tc.serve == nil && tc.want == nil && (err != nil || !bytes.Equal(got.Bytes(), tc.brings)):
				t.Errorf("%d bytes came, %v", got.Len(), err)
			case errors.Is(tc.want, broken) && err == nil:
				t.Error("a part was passed off as the whole")
			}
		})
	}
}

func TestUploadEndsWhenItsCarrierIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		theirs.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := &call{ctx: ctx, sent: make(chan struct{}), result: make(chan error, 1)}
		if err := Upload(cancel, c, newCarrier(ctx, ours, nil), endlessZeroes{}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v, want the carrier's", err)
		}
	})
}

func TestCarriedDownloadIsWholeOrAnError(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), pieceBytes/4)
	for _, want := range []error{nil, drivers.ErrNotFound} {
		dial, streams, _ := sortingServer(t)
		carrier := openCarrier(t, dial)
		end := make(chan error, 1)
		go func() {
			start := &CopyOutStart{Stream: carrier.ID()}
			end <- ServeCopyOut(t.Context(), start, nil, streams, func(_ drivers.CopyOutRequest, w io.Writer) error {
				_, err := w.Write(text)
				return errors.Join(err, want)
			})
		}()
		var got bytes.Buffer
		err := Download(func() (*Piece, error) {
			if err := <-end; err != nil {
				return nil, err
			}
			return nil, io.EOF
		}, carrier, &got)
		if !errors.Is(err, want) || !bytes.Equal(got.Bytes(), text) {
			t.Errorf("%d bytes came, error %v, want %v", got.Len(), err, want)
		}
	}
}

// given is a connection that has brought all that it will.
type given struct {
	net.Conn

	in *bytes.Reader
}

func (g given) Read(p []byte) (int, error)  { return g.in.Read(p) }
func (g given) Write(p []byte) (int, error) { return len(p), nil }
func (g given) Close() error                { return nil }

func FuzzSort(f *testing.F) {
	for _, s := range []string{"", "PRI * HTTP/2.0", "\x16\x03\x01", streamMagic, streamMagic + "0123456789abcdef", streamMagic + "0123456789abcdefmore", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		streams := &Streams{}
		conn := given{in: bytes.NewReader(data)}
		calls, err := streams.Sort(conn)
		stream := bytes.HasPrefix(data, []byte(streamMagic)) && len(data) >= helloBytes
		switch {
		case stream:
			if err != nil || calls != nil {
				t.Fatalf("a stream is taken for %v, %v", calls, err)
			}
			if streams.claim(data[len(streamMagic):helloBytes]) == nil {
				t.Fatal("the stream is lost")
			}
		case err == nil:
			if got, err := io.ReadAll(calls); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("calls begin with %q, %v", got, err)
			}
		}
	})
}
