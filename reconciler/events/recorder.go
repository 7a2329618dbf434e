package events

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// Options of a Recorder; the zero value is good.
type Options struct {
	// Log is told when events cannot be kept on disk. Default: discarded.
	Log *slog.Logger
	// MaxPerObject and MaxTotal bound how many events are kept; the oldest go
	// first. Default: 100 and 5000.
	MaxPerObject, MaxTotal int
	// FlushInterval is how long events may be gathered before they are written to
	// disk. Default: 200 ms.
	FlushInterval time.Duration
}

const (
	defaultMaxPerObject  = 100
	defaultMaxTotal      = 5000
	defaultFlushInterval = 200 * time.Millisecond
	// maxReason and maxMessage bound what one event may hold, in bytes.
	maxReason  = 128
	maxMessage = 1024
)

// Recorder keeps events. Its methods are safe for concurrent use, and none but
// Open and Close waits for the disk.
type Recorder struct {
	opts    Options
	journal *journal
	done    chan struct{} // closed when the writing goroutine has ended

	mu       sync.Mutex
	closed   bool
	order    *list.List // of *Event, by LastTime
	index    map[identity]*list.Element
	perObj   map[manifests.Key]int
	changes  []change // not yet written
	wake     chan struct{}
	stop     chan struct{}
	watchers map[*watcher]struct{}
}

// Open loads the events kept in dir, which it makes if need be, and starts to
// keep new ones. Lines that cannot be read, as a crash may leave them, are left
// out. Close must be called.
func Open(dir string, opts Options) (*Recorder, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxPerObject <= 0 {
		opts.MaxPerObject = defaultMaxPerObject
	}
	if opts.MaxTotal <= 0 {
		opts.MaxTotal = defaultMaxTotal
	}
	if opts.FlushInterval <= 0 {
		opts.FlushInterval = defaultFlushInterval
	}
	if err := state.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	r := &Recorder{
		opts:     opts,
		done:     make(chan struct{}),
		order:    list.New(),
		index:    map[identity]*list.Element{},
		perObj:   map[manifests.Key]int{},
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		watchers: map[*watcher]struct{}{},
	}
	j, err := openJournal(filepath.Join(dir, journalFile), opts.Log, func(c change) {
		if c.Forget != nil {
			r.forget(*c.Forget)
		} else {
			r.put(*c.Event)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	r.journal = j
	go r.write()
	return r, nil
}

// Record notes that something happened to an object, now.
func (r *Recorder) Record(key manifests.Key, typ, reason, message string) {
	now := time.Now().UTC()
	e := Event{
		Object: key, Type: typ, Reason: clip(reason, maxReason), Message: clip(message, maxMessage),
		Count: 1, FirstTime: now, LastTime: now,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if old, ok := r.index[e.identity()]; ok {
		was := old.Value.(*Event)
		e.Count, e.FirstTime = was.Count+1, was.FirstTime
	}
	r.put(e)
	r.changed(change{Event: &e})
	for w := range r.watchers {
		w.offer(e)
	}
}

// Forget drops the events of an object.
func (r *Recorder) Forget(key manifests.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.perObj[key] == 0 {
		return
	}
	r.forget(key)
	r.changed(change{Forget: &key})
}

// List returns the kept events that fit, oldest first by LastTime.
func (r *Recorder) List(f Filter) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list(f)
}

// Watch returns a channel that gets each event that fits as it happens, and each
// repeat with its new count. A slow reader misses repeats first, then the oldest
// events. The channel is closed when ctx ends or the Recorder is closed.
func (r *Recorder) Watch(ctx context.Context, f Filter) <-chan Event {
	_, ch := r.ListAndWatch(ctx, f)
	return ch
}

// ListAndWatch is List and Watch with nothing missed or doubled between them.
func (r *Recorder) ListAndWatch(ctx context.Context, f Filter) ([]Event, <-chan Event) {
	w := newWatcher(f)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		close(w.out)
		return r.list(f), w.out
	}
	r.watchers[w] = struct{}{}
	go func() {
		w.pump(ctx, r.stop)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
	}()
	return r.list(f), w.out
}

// Close writes what is not yet on disk and ends all watches.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.stop)
	}
	r.mu.Unlock()
	<-r.done
	return r.journal.close()
}

func (r *Recorder) list(f Filter) []Event {
	var events []Event
	for el := r.order.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*Event); f.Fits(e.Object) {
			events = append(events, *e)
		}
	}
	return events
}

// put stores an event in place of its last occurrence and drops what is then
// too much.
func (r *Recorder) put(e Event) {
	id := e.identity()
	if el, ok := r.index[id]; ok {
		*el.Value.(*Event) = e
		r.order.MoveToBack(el)
		return
	}
	r.index[id] = r.order.PushBack(&e)
	r.perObj[e.Object]++
	if r.perObj[e.Object] > r.opts.MaxPerObject {
		for el := r.order.Front(); el != nil; el = el.Next() {
			if el.Value.(*Event).Object == e.Object {
				r.remove(el)
				break
			}
		}
	}
	if r.order.Len() > r.opts.MaxTotal {
		r.remove(r.order.Front())
	}
}

func (r *Recorder) forget(key manifests.Key) {
	for el := r.order.Front(); el != nil; {
		next := el.Next()
		if el.Value.(*Event).Object == key {
			r.remove(el)
		}
		el = next
	}
}

func (r *Recorder) remove(el *list.Element) {
	e := el.Value.(*Event)
	r.order.Remove(el)
	delete(r.index, e.identity())
	if r.perObj[e.Object]--; r.perObj[e.Object] == 0 {
		delete(r.perObj, e.Object)
	}
}

// changed hands a change to the writing goroutine. When more wait than events
// may be kept, they are dropped: the whole state is then written instead.
func (r *Recorder) changed(c change) {
	if len(r.changes) <= r.opts.MaxTotal {
		r.changes = append(r.changes, c)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// write is the goroutine that keeps the journal.
func (r *Recorder) write() {
	defer close(r.done)
	for {
		select {
		case <-r.stop:
			r.flush()
			return
		case <-r.wake:
		}
		select {
		case <-r.stop:
		case <-time.After(r.opts.FlushInterval):
		}
		r.flush()
	}
}

func (r *Recorder) flush() {
	r.mu.Lock()
	changes := r.changes
	r.changes = nil
	var all []Event
	if len(changes) > r.opts.MaxTotal || r.journal.wantsRewrite(len(changes), r.order.Len()) {
		all = slices.Clip(r.list(Filter{}))
		changes = nil
		if all == nil {
			all = []Event{}
		}
	}
	r.mu.Unlock()
	if all != nil {
		r.journal.rewrite(all)
	} else {
		r.journal.append(changes)
	}
}

// clip cuts a text to n bytes at most, at the end of a character.
func clip(s string, n int) string {
	const more = "…"
	if len(s) <= n {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:n-len(more)], "") + more
}
