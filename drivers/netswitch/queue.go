package netswitch

import "sync"

// The bounds of what waits to be read by one machine. They are larger than what a
// connection of the gateway's sends ahead, so that only a machine that does not
// read loses frames.
const (
	maxQueuedFrames = 8192
	maxQueuedBytes  = 8 << 20
)

// queue holds the frames for a port. Whoever puts one in never waits.
type queue struct {
	mu     sync.Mutex
	frames [][]byte
	bytes  int
	// ready has room for one: there is something to take, or the end.
	ready chan struct{}
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// put adds a frame, which is the queue's from then on, if there is room.
func (q *queue) put(frame []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.frames) >= maxQueuedFrames || q.bytes+len(frame) > maxQueuedBytes {
		return false
	}
	q.frames = append(q.frames, frame)
	q.bytes += len(frame)
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return true
}

// take returns all that is there, in exchange for a slice that is done with.
func (q *queue) take(done [][]byte) [][]byte {
	clear(done)
	q.mu.Lock()
	defer q.mu.Unlock()
	frames := q.frames
	q.frames, q.bytes = done[:0], 0
	return frames
}
