package source

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// Options of a Directory; the zero value is good.
type Options struct {
	// Log is told of what limits the watching. Default: discarded.
	Log *slog.Logger
	// Resync is how often the directories are looked at without being told to.
	// Default: 60 s.
	Resync time.Duration
	// Quiet is how long nothing must have happened before a look. Default: 40 ms.
	Quiet time.Duration
	// Settle is how long new errors, and the absence of objects that were there,
	// must have lasted to be believed: until then the file may be half written, or
	// the object on its way to another file. Default: 1 s.
	Settle time.Duration
	// MaxFileBytes bounds one file. Default: 4 MiB.
	MaxFileBytes int64
	// Keys opens Secrets that are encrypted. Default: nothing does, and they are
	// errors.
	Keys Keys
}

// Keys opens Secrets that are encrypted.
type Keys interface {
	manifests.Keys
	// Stamp changes whenever there may be other keys than before: then what was
	// decided with those before is decided anew.
	Stamp() string
}

const (
	defaultResync = 60 * time.Second
	defaultQuiet  = 40 * time.Millisecond
	defaultSettle = time.Second

	// patience is how many quiet times a look is put off at most.
	patience = 10
	// pollInterval is how often to look at directories that cannot be watched.
	pollInterval = 2 * time.Second
)

// directoryName is what a Directory is called.
const directoryName = "directory"

// Directory reads manifests from directories, recursively.
type Directory struct {
	dirs  []string
	opts  Options
	force chan struct{}

	mu       sync.Mutex
	complete time.Time
}

// NewDirectory returns a source that reads the given directories. They need not
// exist yet: what is missing makes the snapshots incomplete until it appears.
func NewDirectory(dirs []string, opts Options) *Directory {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Resync <= 0 {
		opts.Resync = defaultResync
	}
	if opts.Quiet <= 0 {
		opts.Quiet = defaultQuiet
	}
	if opts.Settle <= 0 {
		opts.Settle = defaultSettle
	}
	if opts.MaxFileBytes <= 0 {
		opts.MaxFileBytes = manifests.MaxFileBytes
	}
	if opts.Keys == nil {
		opts.Keys = agekeys.File("")
	}
	return &Directory{dirs: dirs, opts: opts, force: make(chan struct{}, 1)}
}

// Run gives out the first Snapshot at once and then one after each change, until
// ctx ends, whose error it returns. It calls out from the goroutine it was called
// in. It is called once.
func (d *Directory) Run(ctx context.Context, out func(Snapshot)) error {
	roots, err := d.roots()
	if err != nil {
		return err
	}
	w := newWatcher(d.opts.Log)
	var wg sync.WaitGroup
	wg.Go(w.run)
	defer wg.Wait()
	defer w.close()

	l := &loop{
		quiet: d.opts.Quiet, most: patience * d.opts.Quiet,
		resync: d.opts.Resync, poll: pollInterval,
		changed: w.C, force: d.force, limited: w.limited,
	}
	return l.run(ctx, &noting{scanner: newScanner(roots, d.opts, w), d: d}, out)
}

// Resync makes Run look at once and give out a Snapshot even if nothing changed.
func (d *Directory) Resync() {
	select {
	case d.force <- struct{}{}:
	default:
	}
}

// Status tells how the directories fare, which are one source together.
func (d *Directory) Status() []Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Name: directoryName, LastSync: d.complete}
	roots, _ := d.roots() // Run has told of what is wrong.
	for _, root := range roots {
		s.Roots = append(s.Roots, strings.TrimSuffix(root, "/")+"/")
	}
	return []Status{s}
}

func (d *Directory) roots() ([]string, error) {
	roots := make([]string, len(d.dirs))
	for i, dir := range d.dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("manifests directory %s: %w", dir, err)
		}
		roots[i] = abs
	}
	return roots, nil
}

// noting is a scanner whose complete looks are noted.
type noting struct {
	*scanner
	d *Directory
}

func (n *noting) snapshot() Snapshot {
	s := n.scanner.snapshot()
	s.Sources = n.d.Status()
	return s
}

func (n *noting) look(now time.Time) result {
	r := n.scanner.look(now)
	if n.complete {
		n.d.mu.Lock()
		defer n.d.mu.Unlock()
		n.d.complete = now
	}
	return r
}
