package linuxvm

import (
	"io"
	"sync"
)

// attachBuffer is how far, in bytes, an attached client may fall behind. One
// that falls further is let go: the process never waits for it.
const attachBuffer = 1 << 20

// recentBytes is how much of what a terminal showed last a client gets to see that
// comes to it: the prompt, first of all.
const recentBytes = 8 << 10

// output hands what a process prints to its log and to the attached clients.
type output struct {
	terminal bool

	mu       sync.Mutex
	closed   bool
	recent   []byte // of a terminal
	attached map[*attachment]struct{}
}

func newOutput(terminal bool) *output {
	return &output{terminal: terminal, attached: map[*attachment]struct{}{}}
}

// writer returns the writer for one stream of the process.
func (o *output) writer(log io.Writer, stderr bool) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		if _, err := log.Write(p); err != nil {
			return 0, err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.terminal {
			o.recent = append(o.recent, p...)
			o.recent = o.recent[max(0, len(o.recent)-recentBytes):]
		}
		for a := range o.attached {
			a.add(p, stderr)
		}
		return len(p), nil
	})
}

// attach begins to collect what is printed from now on, and what a terminal shows.
func (o *output) attach() *attachment {
	a := &attachment{news: make(chan struct{}, 1)}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.recent) > 0 {
		a.add(o.recent, false)
	}
	if o.closed {
		a.end()
	} else {
		o.attached[a] = struct{}{}
	}
	return a
}

func (o *output) detach(a *attachment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.attached, a)
}

// close tells the attached that nothing more will come.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for a := range o.attached {
		delete(o.attached, a)
		a.end()
	}
}

// attachment is what one client has yet to read.
type attachment struct {
	mu     sync.Mutex
	queue  []piece
	bytes  int
	lagged bool
	ended  bool
	news   chan struct{} // holds a token when there is something to take
}

type piece struct {
	stderr bool
	data   []byte
}

func (a *attachment) add(p []byte, stderr bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lagged || a.ended {
		return
	}
	if a.bytes+len(p) > attachBuffer {
		a.lagged, a.queue = true, nil
		a.wake()
		return
	}
	a.bytes += len(p)
	if n := len(a.queue); n > 0 && a.queue[n-1].stderr == stderr {
		a.queue[n-1].data = append(a.queue[n-1].data, p...)
	} else {
		a.queue = append(a.queue, piece{stderr, append([]byte(nil), p...)})
	}
	a.wake()
}

func (a *attachment) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.wake()
}

func (a *attachment) wake() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// take returns what has come since, whether the client was too slow, and
// whether this was the last.
func (a *attachment) take() (queue []piece, lagged, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	queue, a.queue, a.bytes = a.queue, nil, 0
	return queue, a.lagged, a.ended
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
