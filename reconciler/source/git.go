package source

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

// GitOptions say where a Git source reads, and how.
type GitOptions struct {
	Location git.Location
	Access   git.Access
	Verify   git.Verify
	// Interval is how often to ask for the branch's commit. Default: 60 s.
	Interval time.Duration
	// Dir is a private directory, in which the content of the commit in force is
	// kept for the next daemon. Several sources may share it.
	Dir string
	// Keys opens Secrets that are encrypted. Default: nothing does, and they are
	// errors.
	Keys Keys
	// Log is told of what is left out of a commit. Default: discarded.
	Log *slog.Logger
	// Event is told of commits that are taken, of those that are not, and of a
	// repository that cannot be reached. Default: nobody is.
	Event func(warning bool, reason, message string)
}

// Reasons of events, beside those of problems.
const (
	ReasonCommitTaken     = "CommitTaken"
	ReasonSourceReachable = "SourceReachable"
)

const (
	defaultInterval = 60 * time.Second
	// firstRetry is how soon to try again what has failed; it doubles up to the
	// interval.
	firstRetry = 5 * time.Second
	// unreachable is for how many intervals nothing may be known of a branch before
	// its objects are no longer said to be in sync.
	unreachable = 5
)

// Git reads manifests from a branch of a Git repository.
//
// A commit is taken whole or not at all: while anything in it is wrong, the one
// before it stays in force. So it does while the repository cannot be reached, and
// when another daemon begins.
type Git struct {
	opts   GitOptions
	remote fetcher
	force  chan struct{}

	// Of Run's goroutine:
	taken   *taken
	refused *refusal
	failed  *failure
	seen    string // the commit that was last decided on

	mu       sync.Mutex
	status   Status
	lastSync time.Time
}

// fetcher is a git.Remote.
type fetcher interface {
	Fetch(ctx context.Context, known string, use func(*git.Commit) error) (hash string, err error)
}

// failure is a repository that cannot be reached.
type failure struct {
	since   time.Time
	times   int
	message string
}

// NewGit returns a source that reads from a repository. The location must be
// complete.
func NewGit(opts GitOptions) *Git {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Interval <= 0 {
		opts.Interval = defaultInterval
	}
	if opts.Keys == nil {
		opts.Keys = agekeys.File("")
	}
	if opts.Event == nil {
		opts.Event = func(bool, string, string) {}
	}
	g := &Git{
		opts: opts, force: make(chan struct{}, 1),
		remote: &git.Remote{Location: opts.Location, Access: opts.Access, Dir: opts.Dir},
	}
	g.note(time.Now())
	return g
}

// Run implements Source. Its first snapshot is what was kept of the commit that
// was in force last.
func (g *Git) Run(ctx context.Context, out func(Snapshot)) error {
	g.restore()
	g.note(time.Now())
	out(g.snapshot(time.Now()))
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.force:
			// The repository may be far away: who waits for a snapshot gets one now.
			out(g.snapshot(time.Now()))
		case <-next.C:
		}
		before := g.state()
		begun := time.Now()
		g.sync(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		g.note(time.Now())
		if g.state() != before {
			out(g.snapshot(begun))
		}
		next.Reset(g.pause())
	}
}

// Resync implements Source.
func (g *Git) Resync() {
	select {
	case g.force <- struct{}{}:
	default:
	}
}

// Status implements Source.
func (g *Git) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.status
	s.LastSync = g.lastSync
	return []Status{s}
}

// pause returns how long to wait before the next look.
func (g *Git) pause() time.Duration {
	if g.failed == nil {
		return g.opts.Interval
	}
	return min(g.opts.Interval, firstRetry<<min(g.failed.times-1, 8))
}

// sync asks for the branch's commit, and decides on one that is new.
func (g *Git) sync(ctx context.Context) {
	known := g.seen
	if g.refused != nil && (g.refused.unproven || g.refused.keys != g.opts.Keys.Stamp()) {
		known = ""
	}
	hash, err := g.remote.Fetch(ctx, known, g.decide)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		g.fail(err)
	default:
		g.seen = hash
		if g.taken != nil && g.taken.revision.Commit == hash {
			g.refused = nil
		}
		if g.failed != nil {
			g.failed = nil
			g.opts.Event(false, ReasonSourceReachable, g.name()+" is reached again")
		}
		now := time.Now()
		g.touch(now)
		g.mu.Lock()
		g.lastSync = now
		g.mu.Unlock()
	}
}

// fail notes that the branch's commit is not known.
func (g *Git) fail(err error) {
	message := err.Error()
	if g.failed == nil {
		g.failed = &failure{since: time.Now()}
		g.opts.Event(true, ReasonSourceUnreachable, g.name()+": "+message+g.stays())
	}
	g.failed.times++
	g.failed.message = message
}

func (g *Git) name() string { return g.opts.Location.String() }

// stays ends a sentence about why something is not taken.
func (g *Git) stays() string {
	if g.taken == nil {
		return ""
	}
	return "; what commit " + g.taken.revision.Commit[:7] + " says stays in force"
}

// state tells snapshots apart.
func (g *Git) state() string {
	var s string
	if g.taken != nil {
		s = g.taken.revision.Commit + g.taken.revision.Signer
	}
	if g.refused != nil {
		s += " " + g.refused.commit + g.refused.message
	}
	if g.failed != nil {
		s += " " + g.failed.message
	}
	if p := g.Status()[0].Problem; p != nil {
		s += " " + p.Reason
	}
	return s
}

// note makes the status say what is true.
func (g *Git) note(now time.Time) {
	l := g.opts.Location
	root := l.File(l.Path)
	if l.Path != "" {
		root += "/"
	}
	s := Status{Name: g.name(), Roots: []string{root}}
	if g.taken != nil {
		s.Revision = g.taken.revision
	}
	switch {
	case g.refused != nil:
		s.Problem = &Problem{ReasonCommitRefused, g.refused.message + g.stays()}
	case g.failed != nil && now.Sub(g.failed.since) >= unreachable*g.opts.Interval:
		s.Problem = &Problem{ReasonSourceUnreachable, fmt.Sprintf("%s cannot be reached since %s: %s",
			g.name(), g.failed.since.Local().Format(time.DateTime), g.failed.message)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = s
}

func (g *Git) snapshot(now time.Time) Snapshot {
	s := Snapshot{Complete: g.taken != nil, Time: now, Sources: g.Status()}
	if g.taken != nil {
		s.Objects = g.taken.objects
	}
	if g.refused != nil {
		s.Errors = slices.Clone(g.refused.errors)
		if g.taken != nil {
			// They are about what is not in force.
			for i, e := range s.Errors {
				s.Errors[i] = nameless(e)
			}
		}
	}
	if g.failed != nil {
		s.Errors = append(s.Errors, &manifests.Error{
			Position: manifests.Position{File: g.name()}, Message: "cannot be fetched: " + g.failed.message + g.stays(),
		})
	}
	return s
}
