package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// link is a stream in memory. Like a real one it copies what it carries, and
// holds little.
type link struct {
	ctx    context.Context //nolint:containedctx // the stream's
	cancel context.CancelFunc
	in     chan *Input
	out    chan *Output
	closed chan struct{} // by CloseSend
	status error         // of the RPC, valid when out is closed
}

func newLink(ctx context.Context) *link {
	l := &link{in: make(chan *Input), out: make(chan *Output), closed: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

func (l *link) SendInput(in *Input) error {
	select {
	case l.in <- proto.CloneOf(in):
		return nil
	case <-l.ctx.Done():
		return io.EOF
	}
}

func (l *link) CloseSend() error { close(l.closed); return nil }

func (l *link) Recv() (*Output, error) {
	select {
	case out, ok := <-l.out:
		if !ok {
			if l.status != nil {
				return nil, l.status
			}
			return nil, io.EOF
		}
		return out, nil
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
}

func (l *link) RecvInput() (*Input, error) {
	select {
	case in := <-l.in:
		return in, nil
	case <-l.closed:
		return nil, io.EOF
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
}

func (l *link) Send(out *Output) error {
	select {
	case l.out <- proto.CloneOf(out):
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// serve runs the server's side until the process ends, and then ends the stream.
func (l *link) serve(stdin bool, run runFunc) {
	l.status = Serve(l.ctx, l, stdin, run)
	close(l.out)
}

type runFunc = func(ctx context.Context, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error)

// inBubble runs a client and a server in virtual time: a hang is a failure.
func inBubble(t *testing.T, stdin bool, run runFunc, client func(ctx context.Context, l *link)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t.Context())
		go l.serve(stdin, run)
		client(l.ctx, l)
		l.cancel()
	})
}

func TestStdinComesBackUnchanged(t *testing.T) {
	data := make([]byte, 3*stdinWindow+7)
	for i := range data {
		data[i] = byte(i * 7)
	}
	cat := func(_ context.Context, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
		started(42, time.Unix(1, 0))
		_, err := io.Copy(stdio.Stdout, stdio.Stdin)
		return drivers.ExitStatus{Code: 5}, err
	}
	inBubble(t, true, cat, func(ctx context.Context, l *link) {
		var out bytes.Buffer
		var pid int64
		exit, err := Pump(ctx, l, drivers.Stdio{Stdin: bytes.NewReader(data), Stdout: &out}, func(s *Started) { pid = s.GetPid() })
		if err != nil || exit.Code != 5 || pid != 42 {
			t.Errorf("exit %+v, pid %d, %v", exit, pid, err)
		}
		if !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%d bytes came back of %d, or others", out.Len(), len(data))
		}
	})
}

func TestSignalOvertakesStdinThatNobodyReads(t *testing.T) {
	deaf := func(ctx context.Context, stdio drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
		select {
		case sig := <-stdio.Signals:
			return drivers.ExitStatus{Code: 128 + sig, Signal: sig}, nil
		case <-ctx.Done():
			return drivers.ExitStatus{}, ctx.Err()
		}
	}
	inBubble(t, true, deaf, func(ctx context.Context, l *link) {
		signals := make(chan int)
		go func() {
			<-time.After(time.Hour) // virtual: stdin has long come to a halt
			signals <- 2
		}()
		exit, err := Pump(ctx, l, drivers.Stdio{Stdin: endless{}, Signals: signals}, nil)
		if err != nil || exit.Signal != 2 {
			t.Errorf("exit %+v, %v, want it ended by signal 2", exit, err)
		}
	})
}

// endless is a Reader that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestClientThatSendsTooMuchIsCutOff(t *testing.T) {
	deaf := func(ctx context.Context, _ drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
		<-ctx.Done()
		return drivers.ExitStatus{}, ctx.Err()
	}
	inBubble(t, true, deaf, func(_ context.Context, l *link) {
		for range stdinWindow/chunk + 1 {
			if err := l.SendInput(&Input{Kind: &Input_Stdin{Stdin: make([]byte, chunk)}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.Recv(); !errors.Is(FromStatus(err), context.Canceled) {
			t.Errorf("got %v, want the stream cancelled", err)
		}
	})
}

func TestProcessIsToldThatItsClientIsGone(t *testing.T) {
	told := make(chan error, 1)
	run := func(ctx context.Context, _ drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
		<-ctx.Done()
		told <- ctx.Err()
		return drivers.ExitStatus{}, ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t.Context())
		go l.serve(false, run)
		ctx, cancel := context.WithCancel(l.ctx)
		time.AfterFunc(time.Second, func() { cancel(); l.cancel() })
		if _, err := Pump(ctx, l, drivers.Stdio{}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("pump: %v, want it cancelled", err)
		}
		synctest.Wait()
	})
	if err := <-told; !errors.Is(err, context.Canceled) {
		t.Errorf("the process was told %v", err)
	}
}

func TestAllOutputComesBeforeTheExit(t *testing.T) {
	const line = "0123456789abcdef\n"
	talker := func(_ context.Context, stdio drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
		_, _ = io.WriteString(stdio.Stdout, strings.Repeat(line, 10*chunk/len(line)))
		_, _ = io.WriteString(stdio.Stderr, "last words")
		return drivers.ExitStatus{Code: 1, FinishedAt: time.Unix(99, 5).UTC(), OOMKilled: true}, nil
	}
	inBubble(t, false, talker, func(ctx context.Context, l *link) {
		var out, errs bytes.Buffer
		exit, err := Pump(ctx, l, drivers.Stdio{Stdout: &out, Stderr: &errs}, nil)
		if err != nil || exit != (drivers.ExitStatus{Code: 1, FinishedAt: time.Unix(99, 5).UTC(), OOMKilled: true}) {
			t.Errorf("exit %+v, %v", exit, err)
		}
		if out.Len() != 10*chunk/len(line)*len(line) || errs.String() != "last words" {
			t.Errorf("%d bytes of stdout, stderr %q", out.Len(), &errs)
		}
	})
}

func TestOnlyTheLatestSizeCounts(t *testing.T) {
	sizes := make(chan drivers.TerminalSize, 10)
	run := func(_ context.Context, stdio drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
		<-time.After(time.Minute) // virtual: all sizes have come
		sizes <- <-stdio.Resize
		select {
		case s := <-stdio.Resize:
			sizes <- s
		default:
		}
		return drivers.ExitStatus{}, nil
	}
	inBubble(t, false, run, func(ctx context.Context, l *link) {
		resize := make(chan drivers.TerminalSize)
		go func() {
			for i := range uint16(5) {
				resize <- drivers.TerminalSize{Width: i, Height: i}
			}
			close(resize)
		}()
		if _, err := Pump(ctx, l, drivers.Stdio{Resize: resize}, nil); err != nil {
			t.Error(err)
		}
	})
	if got := <-sizes; got.Width != 4 || len(sizes) != 0 {
		t.Errorf("got %+v and %d more, want the last alone", got, len(sizes))
	}
}

func TestPumpSaysWhatWentWrong(t *testing.T) {
	broken := errors.New("the pipe is broken")
	for _, tt := range []struct {
		name   string
		run    runFunc
		stdout io.Writer
		want   error
		text   string
	}{
		{
			name: "the runtime's error",
			run: func(context.Context, drivers.Stdio, func(int, time.Time)) (drivers.ExitStatus, error) {
				return drivers.ExitStatus{}, fmt.Errorf("exec: %w: no shell", drivers.ErrNotFound)
			},
			want: drivers.ErrNotFound,
			text: "exec: not found: no shell",
		},
		{
			name: "output that nobody takes",
			run: func(_ context.Context, stdio drivers.Stdio, _ func(int, time.Time)) (drivers.ExitStatus, error) {
				_, err := io.WriteString(stdio.Stdout, "x")
				return drivers.ExitStatus{}, err
			},
			stdout: failing{broken},
			want:   broken,
			text:   "write the process's output: the pipe is broken",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, false, tt.run, func(ctx context.Context, l *link) {
				_, err := Pump(ctx, l, drivers.Stdio{Stdout: tt.stdout}, nil)
				if !errors.Is(err, tt.want) || err.Error() != tt.text {
					t.Errorf("got %v, want %s", err, tt.text)
				}
			})
		})
	}
}

func TestStreamThatEndsEarlyIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t.Context())
		close(l.out)
		if _, err := Pump(l.ctx, l, drivers.Stdio{}, nil); err == nil || !strings.Contains(err.Error(), "before the process did") {
			t.Errorf("got %v", err)
		}
		l.cancel()
	})
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
