package source

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// watcher tells that something happened in a set of directories. The set is
// renewed at each look: begin, then an add for each directory before it is read,
// then end. Directories are named by their real paths.
type watcher struct {
	log *slog.Logger
	fs  *fsnotify.Watcher // nil: there are no events at all

	// C gets a value when something happened since the last was taken.
	C chan struct{}

	mu        sync.Mutex
	interests map[string]*interest
	partial   bool // not all directories can be watched
	warned    bool

	// Only between begin and end:
	next   map[string]*interest
	active map[string]bool
	byID   map[fileID]string
	failed bool
}

// interest is what matters in a watched directory.
type interest struct {
	id fileID
	// all says that its manifests matter; otherwise only the names do.
	all   bool
	names map[string]bool
}

func newWatcher(log *slog.Logger) *watcher {
	w := &watcher{log: log, C: make(chan struct{}, 1), interests: map[string]*interest{}}
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		w.fail(err)
		return w
	}
	w.fs = fs
	return w
}

// run passes events on until the watcher is closed.
func (w *watcher) run() {
	if w.fs == nil {
		return
	}
	events, errs := w.fs.Events, w.fs.Errors
	for events != nil || errs != nil {
		select {
		case ev, ok := <-events:
			if !ok {
				events = nil
			} else if w.matters(ev) {
				w.wake()
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.log.Warn("watching manifests: looking at all of them again", "error", err)
			}
			w.wake()
		}
	}
}

// close ends run.
func (w *watcher) close() {
	if w.fs != nil {
		_ = w.fs.Close()
	}
}

func (w *watcher) wake() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// limited reports whether not all events can be had.
func (w *watcher) limited() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.partial
}

// matters reports whether an event may change what a look finds: a manifest
// written, or anything made, moved or removed, since it may be a directory or
// a link to one.
func (w *watcher) matters(ev fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	dir, name := filepath.Split(ev.Name)
	if _, ok := w.interests[ev.Name]; ok && !ev.Has(fsnotify.Create) {
		return true // the directory itself
	}
	in, ok := w.interests[filepath.Clean(dir)]
	switch {
	case !ok:
		return true // a directory just added, or about to be left
	case in.names[name]:
		return true
	case !in.all:
		return false
	}
	return manifests.IsManifestFile(name) || ev.Op&(fsnotify.Create|fsnotify.Remove|fsnotify.Rename) != 0
}

// begin starts to renew the set.
func (w *watcher) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = map[string]*interest{}
	w.failed = w.fs == nil
	w.active, w.byID = map[string]bool{}, map[fileID]string{}
	if w.fs == nil {
		return
	}
	for _, dir := range w.fs.WatchList() {
		w.active[dir] = true
		if in, ok := w.interests[dir]; ok {
			w.byID[in.id] = dir
		}
	}
}

// addTree watches a directory for all that matters to manifests in it.
func (w *watcher) addTree(dir string, id fileID) {
	if in := w.add(dir, id); in != nil {
		in.all = true
	}
}

// addHop watches for a name in a directory.
func (w *watcher) addHop(h hop) {
	id, err := statID(h.dir)
	if err != nil {
		return // it went in this moment: what led to it is watched as well
	}
	if in := w.add(h.dir, id); in != nil {
		in.names[h.name] = true
	}
}

func (w *watcher) add(dir string, id fileID) *interest {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in, ok := w.next[dir]; ok && in.id == id {
		return in
	}
	in := &interest{id: id, names: map[string]bool{}}
	w.next[dir] = in
	if w.fs == nil {
		return in
	}
	if old, ok := w.interests[dir]; ok && old.id == id && w.active[dir] {
		return in
	}
	// A watch belongs to a directory, not to its name: one that was moved here
	// still has its watch under the old name, and one that was replaced has left
	// its watch behind.
	for _, stale := range []string{w.byID[id], dir} {
		if w.active[stale] {
			_ = w.fs.Remove(stale)
			delete(w.active, stale)
		}
	}
	if err := w.fs.Add(dir); err != nil {
		w.failed = true
		w.failLocked(err)
		return in
	}
	w.active[dir], w.byID[id] = true, dir
	return in
}

// end drops the directories that were not added again.
func (w *watcher) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for dir := range w.active {
		if _, ok := w.next[dir]; !ok {
			_ = w.fs.Remove(dir)
		}
	}
	if w.partial && !w.failed {
		w.log.Info("all manifest directories are watched again")
		w.warned = false
	}
	w.partial = w.failed
	w.interests = w.next
	w.next, w.active, w.byID = nil, nil, nil
}

func (w *watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(err)
}

func (w *watcher) failLocked(err error) {
	w.partial = true
	if w.warned {
		return
	}
	w.warned = true
	w.log.Warn("cannot watch all manifest directories and look at them every "+pollInterval.String()+" instead; "+
		"if the system's limit is reached, raise fs.inotify.max_user_watches and fs.inotify.max_user_instances", "error", err)
}
