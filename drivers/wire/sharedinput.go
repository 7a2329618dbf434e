package wire

import (
	"context"
	"io"
	"sync"
)

// SharedInput is the stdin of a process that clients attach to: what they type
// becomes one stream.
type SharedInput struct {
	once bool

	data   chan []byte
	ended  chan struct{} // the clients have no more
	closed chan struct{} // nobody reads any more
	end    func()
	close  func()

	mu   sync.Mutex
	rest []byte // of what was taken, and not read yet
}

// NewSharedInput returns a stdin that ends with Close, or, with once, when the
// first client leaves.
func NewSharedInput(once bool) *SharedInput {
	in := &SharedInput{
		once: once, data: make(chan []byte),
		ended: make(chan struct{}), closed: make(chan struct{}),
	}
	in.end = sync.OnceFunc(func() { close(in.ended) })
	in.close = sync.OnceFunc(func() { close(in.closed) })
	return in
}

// Reader returns the process's end, for as long as ctx lasts: what has not been
// read by then is left to the next Reader. There is one at a time.
func (in *SharedInput) Reader(ctx context.Context) io.Reader {
	return readerFunc(func(p []byte) (int, error) { return in.read(ctx, p) })
}

func (in *SharedInput) read(ctx context.Context, p []byte) (int, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if n := in.take(p, nil); n > 0 {
		return n, nil
	}
	select {
	case b := <-in.data:
		if ctx.Err() != nil {
			in.take(nil, b)
			return 0, ctx.Err()
		}
		return in.take(p, b), nil
	case <-in.ended:
		return 0, io.EOF
	case <-in.closed:
		return 0, io.ErrClosedPipe
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// take adds to what is there, and takes from it.
func (in *SharedInput) take(p, more []byte) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.rest = append(in.rest, more...)
	n := copy(p, in.rest)
	if in.rest = in.rest[n:]; len(in.rest) == 0 {
		in.rest = nil
	}
	return n
}

// Feed passes a client's input on until that ends, or the process takes no more.
func (in *SharedInput) Feed(client io.Reader) {
	_, _ = io.Copy(writerFunc(in.write), client)
	in.Left()
}

func (in *SharedInput) write(p []byte) (int, error) {
	select {
	case <-in.closed:
		return 0, io.ErrClosedPipe
	case <-in.ended:
		return 0, io.ErrClosedPipe
	case in.data <- append([]byte(nil), p...):
		return len(p), nil
	}
}

// Left says that a client has gone, or has no more input.
func (in *SharedInput) Left() {
	if in.once {
		in.end()
	}
}

// Close says that nobody reads any more. A nil SharedInput has nothing to close.
func (in *SharedInput) Close() {
	if in != nil {
		in.close()
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
