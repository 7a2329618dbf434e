package wire

import (
	"context"
	"io"
	"sync"
)

const (
	// chunk is the most bytes of a stream that one message carries.
	chunk = 32 << 10
	// stdinWindow is how much stdin may be on its way to the process.
	stdinWindow = 256 << 10
	// maxSignals is how many signals may wait for the process. Those of one kind
	// are one in the end, so it is no loss when more are dropped.
	maxSignals = 64
)

// sendStdin sends no more than there is room for: what waits on the way would
// hold up the signals behind it.
func sendStdin(ctx context.Context, r io.Reader, room *window, send func(*Input) error) {
	buf := make([]byte, chunk)
	for {
		most, ok := room.wait(ctx)
		if !ok {
			return
		}
		n, err := r.Read(buf[:min(most, chunk)])
		if n > 0 {
			room.add(-int64(n))
			if send(&Input{Kind: &Input_Stdin{Stdin: append([]byte(nil), buf[:n]...)}}) != nil {
				return
			}
		}
		if err != nil {
			_ = send(&Input{Kind: &Input_CloseStdin{CloseStdin: true}})
			return
		}
	}
}

// window counts the bytes that may still be sent.
type window struct {
	mu   sync.Mutex
	room int64
	most int64
	more chan struct{} // holds a token when there may be room
}

func newWindow(most int64) *window {
	w := &window{most: most, more: make(chan struct{}, 1)}
	w.add(most)
	return w
}

// add makes room, of which there is never more than at first.
func (w *window) add(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room = min(w.room+min(n, w.most), w.most)
	if w.room > 0 {
		select {
		case w.more <- struct{}{}:
		default:
		}
	}
}

// wait returns how much room there is once there is some, false when ctx ends.
func (w *window) wait(ctx context.Context) (int64, bool) {
	for {
		w.mu.Lock()
		room := w.room
		w.mu.Unlock()
		if room > 0 {
			return room, ctx.Err() == nil
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			return 0, false
		}
	}
}

// inputPipe hands stdin from the stream to the process. What it holds is bounded
// by the window, which it opens again as the process reads.
type inputPipe struct {
	taken func(n int64)

	mu     sync.Mutex
	cond   *sync.Cond
	data   []byte
	ended  bool // nothing more comes
	closed bool // nobody reads any more
	unsaid int64
}

func newInputPipe(taken func(n int64)) *inputPipe {
	p := &inputPipe{taken: taken}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// write reports false if there is no room, which the client has to know.
func (p *inputPipe) write(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.ended {
		return true
	}
	if int64(len(p.data))+p.unsaid+int64(len(b)) > stdinWindow {
		return false
	}
	p.data = append(p.data, b...)
	p.cond.Broadcast()
	return true
}

func (p *inputPipe) closeWrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.cond.Broadcast()
}

// Read returns io.EOF after the writer closed, io.ErrClosedPipe after Close.
func (p *inputPipe) Read(b []byte) (int, error) {
	n, say, err := p.read(b)
	if say > 0 {
		p.taken(say)
	}
	return n, err
}

func (p *inputPipe) read(b []byte) (n int, say int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.data) == 0 && !p.ended && !p.closed {
		p.cond.Wait()
	}
	switch {
	case p.closed:
		return 0, 0, io.ErrClosedPipe
	case len(p.data) == 0:
		return 0, 0, io.EOF
	}
	n = copy(b, p.data)
	p.data = p.data[n:]
	if len(p.data) == 0 {
		p.data = nil
	}
	// Not every byte is worth a message.
	if p.unsaid += int64(n); p.unsaid >= stdinWindow/4 {
		say, p.unsaid = p.unsaid, 0
	}
	return n, say, nil
}

func (p *inputPipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.data = nil
	p.cond.Broadcast()
	return nil
}
