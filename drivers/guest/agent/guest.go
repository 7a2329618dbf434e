//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Places in the guest, outside of any container.
const (
	// diskDir is the writable disk, or a tmpfs in its stead.
	diskDir = "/run/disk"
	// basesDir holds the images' root file systems, by serial of their disk.
	basesDir = "/run/bases"
	// volumesDir holds a mount for each volume in memory.
	volumesDir = "/run/volumes"
	// rootsDir holds the containers' root file systems: a base, and over it the
	// container's own layer on the disk.
	rootsDir = "/run/roots"
	// etcDir holds the files that each container finds in /etc.
	etcDir = "/run/etc"
)

// guest is the state of the whole guest.
type guest struct {
	log     *slog.Logger
	modules moduleList
	reaper  *reaper

	// ready is closed when prepare is through; readyErr is its result.
	ready    chan struct{}
	readyErr error
	settled  sync.Once

	frozen frozenDisk

	updating sync.Mutex // one update at a time

	mu         sync.Mutex
	phase      phase
	volumes    map[string]volume
	bases      map[string]string // mounted root file systems by serial
	containers map[string]*container
	processes  map[string]*process // running, by id
	sessions   map[string]*session // by id; kept until the next under it
	runs       uint64              // how many sessions there were
	etc        etcFiles
	sysctls    map[string]string // those that every IPC namespace has of its own
}

type phase int

const (
	phaseBooted phase = iota
	phaseConfiguring
	phaseConfigured
	phaseStopping
)

func newGuest(log *slog.Logger, modules moduleList) *guest {
	return &guest{
		log:        log,
		modules:    modules,
		reaper:     newReaper(),
		ready:      make(chan struct{}),
		volumes:    map[string]volume{},
		bases:      map[string]string{},
		containers: map[string]*container{},
		processes:  map[string]*process{},
		sessions:   map[string]*session{},
	}
}

// prepare does what need not be done before the host is answered.
func (g *guest) prepare() {
	go g.reaper.loop()
	g.readyErr = errors.Join(g.modules.load(whenStorage), setupCgroups(), loopbackUp())
	close(g.ready)
}

// settle does, once, what has no part in starting anything, and so comes when
// the first process runs.
func (g *guest) settle() {
	g.settled.Do(func() {
		if err := g.modules.load(whenIdle); err != nil {
			g.log.Warn("the guest goes without", "error", err)
		}
	})
}

func (g *guest) awaitReady(ctx context.Context) error {
	select {
	case <-g.ready:
		return g.readyErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter checks that the guest is in the wanted phase and moves it on.
func (g *guest) enter(op string, want, next phase) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.in(op, want); err != nil {
		return err
	}
	g.phase = next
	return nil
}

// in checks the phase; g.mu is held.
func (g *guest) in(op string, want phase) error {
	if g.phase == want {
		return nil
	}
	why := map[phase]string{
		phaseBooted:      "the guest is not configured yet",
		phaseConfiguring: "the guest is being configured",
		phaseConfigured:  "the guest is configured already",
		phaseStopping:    "the guest is shutting down",
	}[g.phase]
	return fmt.Errorf("%s: %w: %s", op, drivers.ErrInvalidState, why)
}

// signal sends a signal to a running process.
func (g *guest) signal(id string, sig int) error {
	g.mu.Lock()
	p := g.processes[id]
	g.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%w: no process %q is running", drivers.ErrNotFound, id)
	}
	return p.signal(sig)
}

// mkdir makes a directory of the guest's own.
func mkdir(path string) error { return os.MkdirAll(path, 0o700) }
