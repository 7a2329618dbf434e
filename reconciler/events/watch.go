package events

import (
	"container/list"
	"context"
	"sync"
)

// maxPending bounds the events that wait for one slow reader.
const maxPending = 1000

// watcher carries events to one reader, at the reader's pace.
type watcher struct {
	filter Filter
	out    chan Event

	mu      sync.Mutex
	pending *list.List // of Event
	index   map[identity]*list.Element
	wake    chan struct{}
}

func newWatcher(f Filter) *watcher {
	return &watcher{
		filter: f, out: make(chan Event), wake: make(chan struct{}, 1),
		pending: list.New(), index: map[identity]*list.Element{},
	}
}

// offer queues an event. A repeat of one that still waits takes its place.
func (w *watcher) offer(e Event) {
	if !w.filter.Fits(e.Object) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if el, ok := w.index[e.identity()]; ok {
		el.Value = e
		return
	}
	w.index[e.identity()] = w.pending.PushBack(e)
	if w.pending.Len() > maxPending {
		w.takeLocked()
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) take() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.takeLocked()
}

func (w *watcher) takeLocked() (Event, bool) {
	el := w.pending.Front()
	if el == nil {
		return Event{}, false
	}
	e := w.pending.Remove(el).(Event)
	delete(w.index, e.identity())
	return e, true
}

// pump sends until ctx ends or stop is closed.
func (w *watcher) pump(ctx context.Context, stop <-chan struct{}) {
	defer close(w.out)
	for {
		e, ok := w.take()
		if !ok {
			select {
			case <-w.wake:
				continue
			case <-ctx.Done():
				return
			case <-stop:
				return
			}
		}
		select {
		case w.out <- e:
		case <-ctx.Done():
			return
		case <-stop:
			return
		}
	}
}
