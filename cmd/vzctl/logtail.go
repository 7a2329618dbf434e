package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// logTail is a log that is being shown.
type logTail struct {
	stop context.CancelFunc
	done chan struct{} // closed at the end, err is set then
	err  error

	mu   sync.Mutex
	last string        // the last entry that was shown
	more chan struct{} // something was shown since
}

// followLog shows the container's log from its beginning, until it is stopped or
// the sandbox is removed. An interruption of ctx is no end: last words follow.
func (r *runner) followLog(ctx context.Context) *logTail {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &logTail{stop: cancel, done: make(chan struct{}), more: make(chan struct{}, 1)}
	go func() {
		defer close(t.done)
		t.err = r.copyLog(ctx, &api.LogsRequest{Object: r.ref, Follow: true, Tail: -1},
			&logDecoder{stdout: r.stdout, stderr: r.stderr, seen: t.saw})
	}()
	return t
}

func (t *logTail) saw(entry []byte) {
	t.mu.Lock()
	t.last = string(entry)
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// wait waits until the log ends by itself.
func (t *logTail) wait(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	select {
	case <-t.done:
	case <-ctx.Done():
	}
}

// close ends it: nothing is printed any more.
func (t *logTail) close() {
	if t != nil {
		t.stop()
		<-t.done
	}
}

// copyLog hands a log on to a decoder.
func (r *runner) copyLog(ctx context.Context, req *api.LogsRequest, out *logDecoder) error {
	stream, err := r.client.Logs(ctx, req)
	if err != nil {
		return err
	}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return errors.Join(out.Close(), err)
		}
		if _, err := out.Write(piece.GetData()); err != nil {
			return err
		}
	}
}

// drainTimeout bounds how long the rest of a log may take to be shown.
const drainTimeout = 30 * time.Second

// finishLog waits until all that is in the log has been shown. What a container
// prints is in its log before it is said to have exited.
func (r *runner) finishLog(ctx context.Context) error {
	t := r.log
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	end := ""
	if err := r.copyLog(ctx, &api.LogsRequest{Object: r.ref, Tail: 1}, &logDecoder{
		stdout: io.Discard, stderr: io.Discard, seen: func(entry []byte) { end = string(entry) },
	}); err != nil {
		return err
	}
	shown := func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return end == "" || t.last == end
	}
	for !shown() {
		var err error
		select {
		case <-t.more:
			continue
		case <-t.done:
			if shown() {
				return nil
			}
			err = t.err
		case <-ctx.Done():
			err = ctx.Err()
		}
		return errors.Join(fmt.Errorf("the end of the output is missing: see vzctl logs %s", r.ref.GetName()), err)
	}
	return nil
}
