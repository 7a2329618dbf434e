package reconciler

import (
	"sync"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// hub tells watchers which objects changed. It holds no more for a slow watcher
// than one entry for each object.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

// watcher gathers what one reader has not seen yet.
type watcher struct {
	mu      sync.Mutex
	pending map[manifests.Key]*view // the last view of an object that is gone, else nil
	order   []manifests.Key
	wake    chan struct{}
}

func newHub() *hub { return &hub{watchers: map[*watcher]struct{}{}} }

func (h *hub) watch() *watcher {
	w := &watcher{pending: map[manifests.Key]*view{}, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	return w
}

func (h *hub) unwatch(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

// changed tells that an object was added or has changed.
func (h *hub) changed(key manifests.Key) { h.tell(key, nil) }

// removed tells that an object is gone; last is how it was.
func (h *hub) removed(key manifests.Key, last *view) {
	if last != nil {
		h.tell(key, last)
	}
}

func (h *hub) tell(key manifests.Key, last *view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.put(key, last)
	}
}

func (w *watcher) put(key manifests.Key, last *view) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.pending[key]; !ok {
		w.order = append(w.order, key)
	}
	w.pending[key] = last
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the oldest news.
func (w *watcher) take() (key manifests.Key, last *view, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		return manifests.Key{}, nil, false
	}
	key = w.order[0]
	w.order = w.order[1:]
	last = w.pending[key]
	delete(w.pending, key)
	return key, last, true
}
