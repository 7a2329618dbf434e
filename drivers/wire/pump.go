package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// ClientStream is the client's end of a stream that carries one process. Each
// service wraps Input in a request of its own, hence the method's name.
type ClientStream interface {
	SendInput(in *Input) error
	CloseSend() error
	Recv() (*Output, error)
}

// Pump connects stdio to the process on the stream until it exits. started, if
// not nil, is called once when the process runs. The caller cancels the
// stream's context after Pump returns, with an error or without.
//
// Stdin is read in a goroutine which, when the process exits first, ends with
// the read under way: a Reader cannot be interrupted.
func Pump(ctx context.Context, stream ClientStream, stdio drivers.Stdio, started func(*Started)) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	// Send may be called by one goroutine at a time.
	var mu sync.Mutex
	send := func(in *Input) error {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return stream.SendInput(in)
	}
	// A failed Send needs no report: Recv then returns the stream's error.
	room := newWindow(stdinWindow)
	if stdio.Stdin != nil {
		go sendStdin(ctx, stdio.Stdin, room, send)
	}
	if stdio.Resize != nil || stdio.Signals != nil {
		go sendControls(ctx, stdio, send)
	}

	for {
		out, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil {
				return drivers.ExitStatus{}, ctx.Err()
			}
			if errors.Is(err, io.EOF) {
				err = errors.New("the stream ended before the process did")
			}
			return drivers.ExitStatus{}, FromStatus(err)
		}
		switch k := out.GetKind().(type) {
		case *Output_Started:
			if started != nil {
				started(k.Started)
			}
		case *Output_Stdout:
			err = write(stdio.Stdout, k.Stdout)
		case *Output_Stderr:
			err = write(stdio.Stderr, k.Stderr)
		case *Output_StdinTaken:
			room.add(k.StdinTaken)
		case *Output_Exited:
			return ToExit(k.Exited), nil
		}
		if err != nil {
			return drivers.ExitStatus{}, fmt.Errorf("write the process's output: %w", err)
		}
	}
}

func sendControls(ctx context.Context, stdio drivers.Stdio, send func(*Input) error) {
	for {
		var in *Input
		select {
		case <-ctx.Done():
			return
		case size, ok := <-stdio.Resize:
			if !ok {
				stdio.Resize = nil
				continue
			}
			in = &Input{Kind: &Input_Resize{Resize: FromSize(size)}}
		case sig, ok := <-stdio.Signals:
			if !ok {
				stdio.Signals = nil
				continue
			}
			in = &Input{Kind: &Input_Signal{Signal: int32(sig)}}
		}
		if send(in) != nil {
			return
		}
	}
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}
