package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Join copies between two connections, each way until its end, and closes both.
// The end of one direction leaves the other open. It returns when both have
// ended, with the error of the one that broke, or with that of ctx.
func Join(ctx context.Context, a, b drivers.Conn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		Abort(a)
		Abort(b)
	})
	j := joint{give: cancel}
	var copying sync.WaitGroup
	copying.Go(func() { j.copy(a, b) })
	copying.Go(func() { j.copy(b, a) })
	copying.Wait()
	if !stop() {
		return context.Cause(ctx)
	}
	return errors.Join(a.Close(), b.Close())
}

// Abort closes a connection at once: what is on its way may be lost, and the other
// end is told, so that it does not take what it got for the whole.
func Abort(c drivers.Conn) {
	switch c := c.(type) {
	case interface{ Abort() }:
		c.Abort()
		return
	case *net.TCPConn:
		_ = c.SetLinger(0) // a reset
	}
	_ = c.Close()
}

// joint is what the two directions know of each other.
type joint struct {
	give func(error)

	mu     sync.Mutex
	ended  int   // how many directions have ended
	broken error // why one goes on without bringing anything further
}

// copy copies from src to dst until src ends.
func (j *joint) copy(dst, src drivers.Conn) {
	buf := make([]byte, chunk)
	var refused error
	for {
		n, err := src.Read(buf)
		if n > 0 && refused == nil {
			// What dst does not take any more is dropped. Whether it has something to
			// say all the same, the other direction will see.
			if _, refused = dst.Write(buf[:n]); refused != nil {
				j.breaks(refused)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			j.give(err)
			return
		}
	}
	if refused == nil {
		_ = dst.CloseWrite() // it may be gone already
	}
	j.ends()
}

func (j *joint) breaks(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = err
	if j.ended > 0 {
		j.give(err)
	}
}

func (j *joint) ends() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended++
	if j.broken != nil {
		j.give(j.broken)
	}
}
