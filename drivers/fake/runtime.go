package fake

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Options configure a Runtime.
type Options struct {
	Faults Faults
	Log    *slog.Logger
	// Version is reported by Info.
	Version string
	// DiscardLogs makes processes print to nowhere instead of their log files.
	DiscardLogs bool
}

// Runtime is a sandbox in memory. It implements drivers.Runtime, and has a few
// methods more by which a test plays fate.
type Runtime struct {
	opts Options
	log  *slog.Logger

	// copying serialises what reads or writes the disk. It is taken before mu.
	copying sync.Mutex

	mu        sync.Mutex
	faults    Faults
	state     drivers.State
	reason    string
	booting   context.CancelFunc // while Bootstrap runs
	bundle    string
	config    drivers.Configuration
	secrets   map[string][]byte
	bootedAt  time.Time
	bootID    string
	processes map[string]*process
	order     []*process
	lastPID   int
	listeners map[int]func(*pipeConn) // by port
	execs     int
	timeline  []drivers.Stage
	crash     *time.Timer
	watchers  map[chan drivers.Snapshot]struct{}
	// ended is closed when the state has become stopped.
	ended chan struct{}
}

var _ drivers.Runtime = (*Runtime)(nil)

// New returns the runtime of one sandbox, in state created.
func New(opts Options) *Runtime {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Runtime{
		opts:      opts,
		log:       opts.Log,
		faults:    opts.Faults,
		state:     drivers.StateCreated,
		processes: map[string]*process{},
		listeners: map[int]func(*pipeConn){},
		watchers:  map[chan drivers.Snapshot]struct{}{},
		ended:     make(chan struct{}),
	}
}

// Info implements drivers.Runtime.
func (r *Runtime) Info(context.Context) (drivers.Info, error) {
	return drivers.Info{
		Name:    "fake",
		Version: r.opts.Version,
		Capabilities: []string{
			drivers.CapabilityAttach, drivers.CapabilityContainers, drivers.CapabilityCopy, drivers.CapabilityDial, drivers.CapabilityDiskVolumes, drivers.CapabilityExec,
			drivers.CapabilityNetworks, drivers.CapabilityPause, drivers.CapabilitySaveState, drivers.CapabilitySnapshotDisk, drivers.CapabilityStatistics, drivers.CapabilityStdin, drivers.CapabilityTerminal, drivers.CapabilityUpdate, drivers.CapabilityVolumes,
		},
		Platforms:         []string{"linux/" + runtime.GOARCH},
		RuntimeDataSchema: schema(),
	}, nil
}

// Probe implements drivers.Runtime.
func (r *Runtime) Probe(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faults.ProbeError != "" {
		return fmt.Errorf("probe fake: %w: %s", drivers.ErrUnavailable, r.faults.ProbeError)
	}
	return nil
}

// Bootstrap implements drivers.Runtime.
func (r *Runtime) Bootstrap(ctx context.Context, req drivers.BootstrapRequest) error {
	return r.bringUp(ctx, "bootstrap", req, func(config drivers.Configuration) (func() error, error) {
		return func() error {
			for _, c := range config.Containers {
				r.register(c.Name, c.Name, c.Process, true)
			}
			r.bootID = rand.Text()
			return nil
		}, nil
	})
}

// bringUp is the way out of created: get looks for what is to be in the sandbox,
// and what it returns puts that there, with mu held.
func (r *Runtime) bringUp(ctx context.Context, op string, req drivers.BootstrapRequest, get func(drivers.Configuration) (func() error, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	if err := r.require(op, drivers.StateCreated); err != nil {
		r.mu.Unlock()
		return err
	}
	if r.booting != nil {
		r.mu.Unlock()
		return fmt.Errorf("%s: %w: another bootstrap is under way", op, drivers.ErrInvalidState)
	}
	r.booting = cancel
	r.passed(drivers.StageBootstrap)
	r.mu.Unlock()

	var fill func() error
	faults, config, err := r.prepare(req)
	if err == nil {
		err = boot(ctx, faults)
	}
	if err == nil {
		fill, err = get(config)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.booting = nil
	if err == nil {
		err = ctx.Err() // of a Shutdown
	}
	if err == nil {
		r.faults, r.config, r.bundle, r.secrets = faults, config, req.Bundle, req.Secrets
		r.bootedAt = time.Now()
		for _, stage := range []string{drivers.StageVMStarted, drivers.StageAgentUp, drivers.StageBooted} {
			r.passed(stage)
		}
		err = fill()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", op, err)
		r.end(err.Error())
		return err
	}
	if after := time.Duration(faults.CrashAfter); after > 0 {
		r.crash = time.AfterFunc(after, func() { r.Crash("the virtual machine process exited: signal: killed") })
	}
	if r.state == drivers.StateCreated {
		r.state = drivers.StateBooted
	}
	r.publish()
	r.log.Info("sandbox booted", "id", config.ID)
	return nil
}

// prepare reads the configuration and what goes wrong with it.
func (r *Runtime) prepare(req drivers.BootstrapRequest) (Faults, drivers.Configuration, error) {
	var config drivers.Configuration
	data, err := os.ReadFile(filepath.Join(req.Bundle, drivers.ConfigurationFile)) //nolint:gosec // the sandbox's own directory
	if err != nil {
		return Faults{}, config, fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return Faults{}, config, fmt.Errorf("%w: %s: %w", drivers.ErrInvalidArgument, drivers.ConfigurationFile, err)
	}
	switch {
	case config.Version != drivers.ConfigurationVersion:
		return Faults{}, config, fmt.Errorf("%w: %s has version %d, want %d",
			drivers.ErrInvalidArgument, drivers.ConfigurationFile, config.Version, drivers.ConfigurationVersion)
	case len(config.Containers) == 0:
		return Faults{}, config, fmt.Errorf("%w: there is no container", drivers.ErrInvalidArgument)
	}
	seen := map[string]bool{}
	for _, c := range config.Containers {
		if c.Name == "" || seen[c.Name] {
			return Faults{}, config, fmt.Errorf("%w: container name %q is empty or used twice", drivers.ErrInvalidArgument, c.Name)
		}
		seen[c.Name] = true
		if err := checkSpec(c.Process, req.Secrets); err != nil {
			return Faults{}, config, fmt.Errorf("container %s: %w", c.Name, err)
		}
	}
	faults, err := r.opts.Faults.with(config.RuntimeData)
	return faults, config, err
}

func checkSpec(spec drivers.ProcessSpec, secrets map[string][]byte) error {
	if len(spec.Args) == 0 {
		return fmt.Errorf("%w: no command", drivers.ErrInvalidArgument)
	}
	for _, e := range spec.Env {
		if _, ok := secrets[e.Secret]; e.Secret != "" && !ok {
			return fmt.Errorf("%w: variable %s: there is no secret %q", drivers.ErrInvalidArgument, e.Name, e.Secret)
		}
	}
	return nil
}

// boot takes as long as it is to take.
func boot(ctx context.Context, f Faults) error {
	var booted <-chan time.Time
	if !f.BootHang {
		t := time.NewTimer(time.Duration(f.BootDelay))
		defer t.Stop()
		booted = t.C
	}
	select {
	case <-booted:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.BootError != "" {
		return errors.New(f.BootError)
	}
	return nil
}

// Stop implements drivers.Runtime.
func (r *Runtime) Stop(ctx context.Context, opts drivers.StopOptions) error {
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	switch r.state {
	case drivers.StateBooted, drivers.StateRunning, drivers.StatePaused:
	default:
		r.mu.Unlock()
		return nil
	}
	r.enter(drivers.StateStopping)
	var inits []*process
	for _, p := range r.order {
		if p.init && p.state == drivers.ProcessRunning {
			inits = append(inits, p)
			r.signal(p, stopSignal(opts, r.config, p))
		}
	}
	r.mu.Unlock()

	r.await(ctx, inits, opts.GracePeriod)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end("")
	return nil
}

// await returns when all processes have exited, or cannot be waited for any more.
func (r *Runtime) await(ctx context.Context, processes []*process, grace time.Duration) {
	over := time.NewTimer(grace)
	defer over.Stop()
	for _, p := range processes {
		select {
		case <-p.run.ended:
		case <-r.ended:
			return
		case <-over.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func stopSignal(opts drivers.StopOptions, config drivers.Configuration, p *process) int {
	if opts.Signal != 0 {
		return opts.Signal
	}
	for _, c := range config.Containers {
		if c.Name == p.container && c.StopSignal != 0 {
			return c.StopSignal
		}
	}
	return sigTerm
}

// Crash ends the machine at once, as if its process had died for that reason.
func (r *Runtime) Crash(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case drivers.StateBooted, drivers.StateRunning, drivers.StatePaused, drivers.StateStopping:
		r.end(reason)
	}
}

// end powers the machine off: what ran in it is gone. The caller holds mu.
func (r *Runtime) end(reason string) {
	if r.state == drivers.StateStopped || r.state == drivers.StateShuttingDown {
		return
	}
	if r.crash != nil {
		r.crash.Stop()
	}
	for _, p := range r.order {
		r.exit(p, drivers.ExitStatus{Code: 128 + sigKill, Signal: sigKill})
	}
	r.reason = reason
	r.log.Info("sandbox stopped", "reason", reason)
	r.enter(drivers.StateStopped)
	close(r.ended)
}

// Pause implements drivers.Runtime. The processes run on: nobody can tell.
func (r *Runtime) Pause(ctx context.Context) error {
	return r.move(ctx, "pause", drivers.StateRunning, drivers.StatePaused)
}

// Resume implements drivers.Runtime.
func (r *Runtime) Resume(ctx context.Context) error {
	return r.move(ctx, "resume", drivers.StatePaused, drivers.StateRunning)
}

func (r *Runtime) move(ctx context.Context, op string, from, to drivers.State) error {
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, from); err != nil {
		return err
	}
	r.enter(to)
	return nil
}

// Shutdown implements drivers.Runtime. A Bootstrap under way is cancelled.
func (r *Runtime) Shutdown(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.booting != nil {
		r.booting()
		r.end("shut down while booting")
	}
	if err := r.require("shut down", drivers.StateCreated, drivers.StateStopped); err != nil {
		return err
	}
	r.enter(drivers.StateShuttingDown)
	for ch := range r.watchers {
		delete(r.watchers, ch)
		close(ch)
	}
	return nil
}

// respond hangs if the sandbox is to be unresponsive.
func (r *Runtime) respond(ctx context.Context) error {
	r.mu.Lock()
	hang := r.faults.Unresponsive && !r.bootedAt.IsZero()
	r.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	return ctx.Err()
}

// require returns an error unless the state is one of those wanted. The caller
// holds mu.
func (r *Runtime) require(op string, want ...drivers.State) error {
	if slices.Contains(want, r.state) {
		return nil
	}
	return drivers.InvalidState(op, r.state, want...)
}

// enter changes the state and tells the watchers. The caller holds mu.
func (r *Runtime) enter(s drivers.State) {
	r.state = s
	r.publish()
}

// passed notes a stage of the timeline. The caller holds mu.
func (r *Runtime) passed(stage string) {
	r.timeline = append(r.timeline, drivers.Stage{Name: stage, Time: time.Now()})
}
