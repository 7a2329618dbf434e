package crilog

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollInterval is how often to look where nothing can be watched.
const pollInterval = 500 * time.Millisecond

// waker waits until something may have happened to a log. It watches the log's
// directory, or, as long as there is none, the nearest one above; and the
// directory above that, since the end of a directory is not told by itself while
// somebody has a file of it open.
type waker struct {
	path string
	fs   *fsnotify.Watcher // nil: nothing can be watched
	dirs []watched
}

type watched struct {
	path string
	info os.FileInfo
}

func newWaker(path string) *waker {
	w := &waker{path: path}
	// A user has a limited number of these; without one we look now and then.
	if fs, err := fsnotify.NewWatcher(); err == nil {
		w.fs = fs
	}
	return w
}

func (w *waker) close() {
	if w.fs != nil {
		_ = w.fs.Close()
	}
}

// aim watches the directories that now are the right ones. It is called before
// each look, so that what happens after the look is not missed.
func (w *waker) aim() {
	if w.fs == nil {
		return
	}
	for range maxTries {
		dirs := nearest(filepath.Dir(w.path))
		if w.watches(dirs) {
			return
		}
		for _, dir := range w.dirs {
			_ = w.fs.Remove(dir.path)
		}
		w.dirs = nil
		for _, dir := range dirs {
			if err := w.fs.Add(dir.path); err == nil {
				w.dirs = append(w.dirs, dir)
			}
		}
		// And see whether they still are the right ones.
	}
	w.close()
	w.fs = nil
}

// watches reports whether just these directories are watched. A directory made
// anew may have its old number, but not its old watch.
func (w *waker) watches(dirs []watched) bool {
	list := w.fs.WatchList()
	return slices.EqualFunc(dirs, w.dirs, func(a, b watched) bool {
		return a.path == b.path && os.SameFile(a.info, b.info) && slices.Contains(list, a.path)
	})
}

// nearest returns the directory, or the nearest above it that exists, and the
// one above that.
func nearest(dir string) []watched {
	var dirs []watched
	for len(dirs) < 2 {
		fi, err := os.Stat(dir)
		if err == nil && fi.IsDir() {
			dirs = append(dirs, watched{dir, fi})
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return dirs
}

// wait returns when something may have happened, or with the context's error.
func (w *waker) wait(ctx context.Context) error {
	if w.fs == nil {
		timer := time.NewTimer(pollInterval)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.fs.Errors: //nolint:errcheck // whatever it is, events were lost
			return nil
		case ev := <-w.fs.Events:
			// The log itself and its rotated files, or a directory on the way to it.
			if strings.HasPrefix(ev.Name, w.path) || strings.HasPrefix(w.path, ev.Name) {
				return nil
			}
		}
	}
}
