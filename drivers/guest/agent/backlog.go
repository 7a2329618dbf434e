package agent

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"
)

const (
	// backlogBytes is how much output waits for the host. A process that prints
	// more waits in its writes.
	backlogBytes = 256 << 10
	// pieceOverhead is what a piece counts beside its bytes, so that many small
	// ones are bounded too.
	pieceOverhead = 64
)

// position counts the bytes of each output stream since the start of a process.
type position struct{ stdout, stderr int64 }

// of returns the count of one stream.
func (p *position) of(stderr bool) *int64 {
	if stderr {
		return &p.stderr
	}
	return &p.stdout
}

// piece is one write of the process's.
type piece struct {
	seq    uint64
	stderr bool
	end    int64 // of data, in its stream
	data   []byte
}

// backlog holds what a process has printed and the host has not kept.
type backlog struct {
	mu      sync.Mutex
	changed *sync.Cond
	written position
	lastSeq uint64
	pieces  []piece // by seq
	bytes   int
	ended   bool
}

func newBacklog() *backlog {
	b := &backlog{}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// writer returns the writer of one stream. It waits for room.
func (b *backlog) writer(stderr bool) io.Writer {
	return writerFunc(func(p []byte) (int, error) { return b.write(stderr, p) })
}

func (b *backlog) write(stderr bool, p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes >= backlogBytes && !b.ended {
		b.changed.Wait()
	}
	if b.ended {
		return 0, os.ErrClosed
	}
	at := b.written.of(stderr)
	*at += int64(len(p))
	b.lastSeq++
	b.pieces = append(b.pieces, piece{seq: b.lastSeq, stderr: stderr, end: *at, data: slices.Clone(p)})
	b.bytes += len(p) + pieceOverhead
	b.changed.Broadcast()
	return len(p), nil
}

// end says that nothing more comes.
func (b *backlog) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// kept forgets what lies before a position.
func (b *backlog) kept(pos position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes = 0
	b.pieces = slices.DeleteFunc(b.pieces, func(p piece) bool {
		if p.end <= *pos.of(p.stderr) {
			return true
		}
		b.bytes += len(p.data) + pieceOverhead
		return false
	})
	b.changed.Broadcast()
}

// after waits for pieces later than seq and returns them; ended says that no
// more will follow. It returns nothing when ctx ends.
func (b *backlog) after(ctx context.Context, seq uint64) (pieces []piece, ended bool) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for ctx.Err() == nil {
		i, _ := slices.BinarySearchFunc(b.pieces, seq+1, func(p piece, seq uint64) int {
			switch {
			case p.seq < seq:
				return -1
			case p.seq > seq:
				return 1
			}
			return 0
		})
		if i < len(b.pieces) || b.ended {
			return slices.Clone(b.pieces[i:]), b.ended
		}
		b.changed.Wait()
	}
	return nil, false
}

// rest returns what of the piece lies behind a position.
func (p piece) rest(pos position) []byte {
	if over := p.end - int64(len(p.data)) - *pos.of(p.stderr); over < 0 {
		return p.data[min(-over, int64(len(p.data))):]
	}
	return p.data
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
