package wire

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// ServerStream is the server's end.
type ServerStream interface {
	RecvInput() (*Input, error)
	Send(out *Output) error
}

// Serve runs a process and carries its stdio on the stream until run returns.
// stdin says whether the process has one. run gets a context that ends with the
// stream, and calls started once the process runs. The error returned is for
// the RPC; it is a status error already.
func Serve(ctx context.Context, stream ServerStream, stdin bool,
	run func(ctx context.Context, stdio drivers.Stdio, started func(pid int, at time.Time)) (drivers.ExitStatus, error),
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	out := &sender{stream: stream}
	resize := make(chan drivers.TerminalSize, 1)
	signals := make(chan int, maxSignals)
	stdio := drivers.Stdio{
		Stdout:  out.writer(func(p []byte) *Output { return &Output{Kind: &Output_Stdout{Stdout: p}} }),
		Stderr:  out.writer(func(p []byte) *Output { return &Output{Kind: &Output_Stderr{Stderr: p}} }),
		Resize:  resize,
		Signals: signals,
	}
	var in *inputPipe
	if stdin {
		in = newInputPipe(func(n int64) {
			_ = out.send(&Output{Kind: &Output_StdinTaken{StdinTaken: n}})
		})
		stdio.Stdin = in
		defer in.Close()
	}
	// Ends when the RPC handler returns: gRPC then fails RecvInput.
	go receive(cancel, stream, in, resize, signals)

	exit, err := run(ctx, stdio, func(pid int, at time.Time) {
		_ = out.send(&Output{Kind: &Output_Started{Started: &Started{Pid: int64(pid), StartedAt: timestamppb.New(at)}}})
	})
	if err != nil {
		return ToStatus(err)
	}
	return out.send(&Output{Kind: &Output_Exited{Exited: FromExit(exit)}})
}

// receive never waits for the process, so that no input holds up another.
func receive(cancel func(), stream ServerStream, in *inputPipe, resize chan drivers.TerminalSize, signals chan int) {
	for {
		m, err := stream.RecvInput()
		if err != nil {
			// A half-close is the end of stdin; anything else is the end of the client,
			// of whom a process that goes on may have a successor.
			half := errors.Is(err, io.EOF)
			switch {
			case in == nil:
			case half:
				in.closeWrite()
			default:
				_ = in.Close()
			}
			if !half {
				cancel()
			}
			return
		}
		switch k := m.GetKind().(type) {
		case *Input_Stdin:
			if in != nil && !in.write(k.Stdin) {
				cancel() // the client does not keep to the window
				return
			}
		case *Input_CloseStdin:
			if in != nil {
				in.closeWrite()
			}
		case *Input_Resize:
			// Only the latest size counts.
			select {
			case <-resize:
			default:
			}
			resize <- ToSize(k.Resize)
		case *Input_Signal:
			select {
			case signals <- int(k.Signal):
			default:
			}
		}
	}
}

// sender serialises what goes out on a stream.
type sender struct {
	mu     sync.Mutex
	stream ServerStream
}

func (s *sender) send(out *Output) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.Send(out)
}

func (s *sender) writer(wrap func([]byte) *Output) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		n := 0
		for len(p) > 0 {
			part := p[:min(len(p), chunk)]
			if err := s.send(wrap(part)); err != nil {
				return n, err
			}
			n += len(part)
			p = p[len(part):]
		}
		return n, nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
