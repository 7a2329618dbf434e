package linuxvm

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Options configure a runtime.
type Options struct {
	// Log receives what is worth telling; nil discards it.
	Log *slog.Logger
	// Version is reported by Info.
	Version string
	// BootTimeout bounds the time from the machine's start to its agent's first
	// answer, for each of two tries. 0 means 30 s on hardware and 120 s emulated:
	// many machines may be booting on few CPUs.
	BootTimeout time.Duration
}

// New returns a runtime for one sandbox, in state created.
func New(hv Hypervisor, opts Options) drivers.Runtime { return newSandbox(hv, opts) }

func newSandbox(hv Hypervisor, opts Options) *sandbox {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &sandbox{
		hv:           hv,
		opts:         opts,
		log:          opts.Log,
		connectAgent: connectChannel,
		clock:        newHostClock(),
		state:        drivers.StateCreated,
		processes:    map[string]*process{},
		ended:        make(chan struct{}),
		watchers:     map[chan drivers.Snapshot]struct{}{},
	}
	s.life, s.endLife = context.WithCancel(context.Background())
	return s
}

// sandbox implements drivers.Runtime.
type sandbox struct {
	hv   Hypervisor
	opts Options
	log  *slog.Logger
	// connectAgent is connectChannel, and clock that of the host, but for tests.
	connectAgent connectFunc
	clock        hostClock

	// life is the context of what outlives the call that began it; Shutdown ends it.
	life    context.Context
	endLife context.CancelFunc

	// mu guards what follows. It is never held during a call to anything else.
	mu        sync.Mutex
	state     drivers.State
	reason    string
	timeline  []drivers.Stage
	boot      *bootCall        // while Bootstrap runs
	vm        *vm              // from booted on
	machine   *drivers.Machine // once one was started
	processes map[string]*process
	order     []string // of the ids in processes
	execs     int      // how many there were
	dials     int      // connections of Dial that are open
	ending    bool     // end was called
	// capturing is there while the disk is frozen, or the CPUs stand still to be saved.
	capturing *capture
	active    sync.WaitGroup // of the goroutines that own a run; none is added once ending
	watchers  map[chan drivers.Snapshot]struct{}
	// configuration is the hash of the one in the bundle; recordPath is where the
	// machine is kept on record, empty while there is none; unfinished is what a
	// SaveState under way has made so far.
	configuration, recordPath, unfinished string

	// saving serialises what is written to recordPath.
	saving sync.Mutex

	// pausing serialises Pause and Resume.
	pausing sync.Mutex

	// ended is closed when the state has become stopped.
	ended chan struct{}
}

// bootCall is a Bootstrap under way.
type bootCall struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// apply moves the state and tells the watchers. The caller holds mu.
func (s *sandbox) apply(e event) bool {
	to, ok := next(s.state, e)
	if !ok {
		return false
	}
	s.state = to
	s.publish()
	return true
}

// require returns an error unless the state is one of those wanted. The caller
// holds mu.
func (s *sandbox) require(op string, want ...drivers.State) error {
	if slices.Contains(want, s.state) {
		return nil
	}
	return drivers.InvalidState(op, s.state, want...)
}

// passed notes a stage of the timeline. The caller holds mu.
func (s *sandbox) passed(stage string) {
	s.timeline = append(s.timeline, drivers.Stage{Name: stage, Time: time.Now()})
}

func (s *sandbox) Info(context.Context) (drivers.Info, error) {
	can := drivers.Capabilities()
	if _, err := s.restorer(); err != nil {
		can = slices.DeleteFunc(can, func(c string) bool { return c == drivers.CapabilitySaveState })
	}
	if sharer, ok := s.hv.(Sharer); !ok || !sharer.SharesHostPaths() {
		can = slices.DeleteFunc(can, func(c string) bool { return c == drivers.CapabilityHostPaths })
	}
	if _, ok := s.hv.(Networked); !ok {
		can = slices.DeleteFunc(can, func(c string) bool { return c == drivers.CapabilityNetworks })
	}
	return drivers.Info{
		Name:              s.hv.Name(),
		Version:           s.opts.Version,
		Capabilities:      can,
		Platforms:         []string{"linux/" + runtime.GOARCH},
		RuntimeDataSchema: s.hv.RuntimeDataSchema(),
	}, nil
}

func (s *sandbox) Probe(ctx context.Context) error {
	if err := s.hv.Probe(ctx); err != nil {
		return fmt.Errorf("probe %s: %w", s.hv.Name(), err)
	}
	return nil
}

func (s *sandbox) State(context.Context) (drivers.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot(), nil
}

// snapshot copies what is known. The caller holds mu.
func (s *sandbox) snapshot() drivers.Snapshot {
	snap := drivers.Snapshot{
		State:    s.state,
		Reason:   s.reason,
		Timeline: slices.Clone(s.timeline),
	}
	for _, id := range s.order {
		snap.Processes = append(snap.Processes, s.processes[id].status())
	}
	if s.machine != nil {
		m := *s.machine
		snap.Machine = &m
	}
	return snap
}

func (s *sandbox) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if boot := s.boot; boot != nil {
		// Bootstrap cleans up after itself and ends in stopped.
		boot.cancel()
		s.mu.Unlock()
		select {
		case <-boot.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if err := s.require("shut down", drivers.StateCreated, drivers.StateStopped); err != nil {
		return err
	}
	s.apply(eventShutdown)
	s.endLife()
	s.closeWatchers()
	return nil
}
