package fake

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Dial implements drivers.Runtime. What listens is "nc -ll -p PORT -e cat", which
// sends back what it gets.
func (r *Runtime) Dial(ctx context.Context, to drivers.Address) (drivers.Conn, error) {
	const op = "dial"
	if err := r.respond(ctx); err != nil {
		return nil, err
	}
	if err := to.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateBooted, drivers.StateRunning); err != nil {
		return nil, err
	}
	serve := r.listeners[to.Port]
	if serve == nil {
		return nil, fmt.Errorf("%s %s: %w: nothing listens on it", op, to, drivers.ErrRefused)
	}
	ours, theirs := pipe()
	go serve(theirs)
	return ours, nil
}

// listen is nc: it sends back what it gets, on every connection, until it is ended.
func (sh *shell) listen(args []string) (int, error) {
	if len(args) != 5 || !slices.Equal([]string{args[0], args[1], args[3], args[4]}, []string{"-ll", "-p", "-e", "cat"}) {
		return 2, nil
	}
	port, err := strconv.Atoi(args[2])
	if err != nil {
		return 2, nil //nolint:nilerr // as the program does
	}
	r, ctx := sh.rt, sh.ctx
	r.mu.Lock()
	_, used := r.listeners[port]
	if !used {
		r.listeners[port] = func(c *pipeConn) {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			_, _ = io.Copy(c, c)
			_ = c.CloseWrite()
		}
	}
	r.mu.Unlock()
	if used {
		return 1, nil
	}
	<-ctx.Done()
	r.mu.Lock()
	delete(r.listeners, port)
	r.mu.Unlock()
	return 0, errKilled
}

// pipe returns the two ends of a connection in memory.
func pipe() (*pipeConn, *pipeConn) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return &pipeConn{ar, aw}, &pipeConn{br, bw}
}

// pipeConn is one end. Its other one reads nothing that was not written, and what
// is written waits until it is read.
type pipeConn struct {
	r *io.PipeReader
	w *io.PipeWriter
}

func (c *pipeConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *pipeConn) Write(p []byte) (int, error) { return c.w.Write(p) }
func (c *pipeConn) CloseWrite() error           { return c.w.Close() }

func (c *pipeConn) Close() error {
	_ = c.w.Close()
	return c.r.Close()
}
