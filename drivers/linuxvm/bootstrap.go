package linuxvm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/guest/initramfs"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm/disk"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	// DiskFile is the private writable disk in the bundle.
	DiskFile = "disk.img"
	// bootTries is how often a machine is started whose agent does not answer.
	bootTries = 2
	// seedBytes is how much randomness the guest begins with.
	seedBytes = 64
	// maxGuestText bounds the strings that the guest tells of itself.
	maxGuestText = 128
)

// The default BootTimeout.
const (
	bootTimeoutHardware = 30 * time.Second
	bootTimeoutEmulated = 120 * time.Second
)

// Bootstrap boots the machine and has the agent set the guest up.
func (s *sandbox) Bootstrap(ctx context.Context, req drivers.BootstrapRequest) error {
	return s.bringUp(ctx, "bootstrap", req, s.bootVM)
}

// bringUp is the way from created to where the machine is that get returns. With a
// record, that has run before.
func (s *sandbox) bringUp(ctx context.Context, op string, req drivers.BootstrapRequest, get func(context.Context, *vm) (*record, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	boot := &bootCall{cancel: cancel, done: make(chan struct{})}
	defer close(boot.done)

	s.mu.Lock()
	if err := s.require(op, drivers.StateCreated); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.boot != nil {
		s.mu.Unlock()
		return fmt.Errorf("%s: %w: another bootstrap is under way", op, drivers.ErrInvalidState)
	}
	s.boot = boot
	s.passed(drivers.StageBootstrap)
	s.publish()
	s.mu.Unlock()

	v, err := s.prepare(req)
	var rec *record
	if err == nil {
		if rec, err = get(ctx, v); err != nil {
			v.console.Close()
		}
	}
	if err != nil {
		s.forget()
	}

	defer s.save()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boot = nil
	if err != nil {
		err = fmt.Errorf("%s: %w", op, err)
		s.reason = err.Error()
		s.machine = nil
		s.apply(eventEnded)
		close(s.ended)
		return err
	}
	if rec != nil {
		s.goOn(v, *rec)
		go s.watch(v)
		return nil
	}
	s.vm = v
	for _, ct := range v.config.Containers {
		s.register(&process{id: ct.Name, container: ct.Name, init: true, spec: ct.Process})
	}
	s.passed(drivers.StageBooted)
	s.apply(eventBooted)
	go s.watch(v)
	return nil
}

// prepare reads the bundle and makes ready in it what every machine needs.
func (s *sandbox) prepare(req drivers.BootstrapRequest) (*vm, error) {
	config, err := readConfiguration(req.Bundle)
	if err != nil {
		return nil, err
	}
	if _, ok := s.hv.(Networked); !ok && len(config.Interfaces) > 0 {
		return nil, fmt.Errorf("interfaces: %w on %s", drivers.ErrUnsupported, s.hv.Name())
	}
	hash, err := hashOf(config)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.configuration, s.recordPath = hash, filepath.Join(req.Bundle, MachineFile)
	s.mu.Unlock()
	logs := filepath.Join(req.Bundle, drivers.LogsDir)
	if err := state.MkdirAll(logs); err != nil {
		return nil, err
	}
	console, err := openConsole(filepath.Join(logs, drivers.ConsoleLog))
	if err != nil {
		return nil, err
	}
	return &vm{config: config, bundle: req.Bundle, secrets: req.Secrets, console: console}, nil
}

// bootVM takes over the machine that is there, or makes one. It leaves none behind
// that is of no use.
func (s *sandbox) bootVM(ctx context.Context, v *vm) (*record, error) {
	rec, err := s.adoptVM(v)
	if errors.Is(err, errNoMachine) {
		return nil, s.makeVM(ctx, v)
	}
	if err != nil {
		return nil, err
	}
	return &rec, nil
}

// machineConfig describes the machine, but for what makeReady makes for it.
func machineConfig(v *vm) MachineConfig {
	c := v.config
	return MachineConfig{
		ID:                   c.ID,
		CPUs:                 c.CPUs,
		MemoryBytes:          c.MemoryBytes,
		Kernel:               c.Kernel,
		KernelArgs:           baseKernelArgs,
		Console:              v.console,
		SocketDir:            c.SocketDir,
		CacheDir:             c.CacheDir,
		StateDir:             v.bundle,
		Interfaces:           interfaces(c.Interfaces),
		NestedVirtualization: c.NestedVirtualization,
		RuntimeData:          c.RuntimeData,
	}
}

// makeVM boots a machine and has its guest set up, or leaves none behind.
func (s *sandbox) makeVM(ctx context.Context, v *vm) error {
	data := filepath.Join(v.bundle, DiskFile)
	machine, serials, err := s.makeReady(v, data, func() error { return disk.Ensure(data, v.config.DiskBytes) })
	if err != nil {
		return err
	}
	if err := s.startMachine(ctx, v, machine); err != nil {
		return err
	}
	if err := s.setUp(ctx, v, serials); err != nil {
		if reason, gone := v.gone(); gone {
			err = fmt.Errorf("%s (%w)", reason, err)
		}
		err = withConsole(err, v.console)
		return errors.Join(err, v.teardown())
	}
	return nil
}

// makeReady makes what a machine needs that is to have its writable disk at data,
// where makeDisk puts it. It returns the machine, whole, and the serials of the
// images' disks.
func (s *sandbox) makeReady(v *vm, data string, makeDisk func() error) (machine MachineConfig, serials map[string]string, err error) {
	config := v.config
	if err := checkFiles(config); err != nil {
		return machine, nil, err
	}
	if err := v.secrets.check(config); err != nil {
		return machine, nil, err
	}
	machine = machineConfig(v)
	if machine.Shares, err = shares(config.Volumes); err != nil {
		return machine, nil, err
	}
	modules := s.hv.RequiredModules()
	if len(machine.Shares) > 0 {
		modules = append(slices.Clip(modules), virtiofsModule)
	}
	v.shares = machine.Shares
	var g errgroup.Group
	g.Go(makeDisk)
	g.Go(func() error { return ensureVolumes(config.Volumes, v.bundle) })
	g.Go(func() (err error) {
		machine.Initrd, err = initramfs.Cached(config.CacheDir, initramfs.Options{
			Agent:      config.Agent,
			ModulesDir: config.Kernel.ModulesDir,
			Modules:    modules,
		})
		return err
	})
	if err := g.Wait(); err != nil {
		return machine, nil, err
	}
	machine.Disks, serials = disks(config, v.bundle, data)
	return machine, serials, nil
}

// startMachine starts the machine and connects to its agent. A machine whose
// agent does not answer is given a second try: on a busy host a kernel may hang
// for no fault of its own.
func (s *sandbox) startMachine(ctx context.Context, v *vm, cfg MachineConfig) error {
	for try := 1; ; try++ {
		m, err := s.hv.Start(ctx, cfg)
		if err != nil {
			return fmt.Errorf("start the virtual machine: %w", err)
		}
		s.started(m.Describe())
		client, err := s.connect(ctx, m)
		if err == nil {
			v.machine, v.client = m, newLine(client)
			return nil
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		} else {
			err = withConsole(err, v.console)
		}
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		if kerr := m.Kill(kill); kerr != nil {
			err = errors.Join(err, fmt.Errorf("end the virtual machine: %w", kerr))
			try = bootTries
		}
		cancel()
		if try >= bootTries || ctx.Err() != nil {
			return err
		}
		s.log.WarnContext(ctx, "the virtual machine did not come up, trying once more", "id", cfg.ID, "error", err)
	}
}

// started notes that a machine runs: whoever looks can then find its process.
func (s *sandbox) started(m drivers.Machine) {
	defer s.save()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine = &m
	s.passed(drivers.StageVMStarted)
	s.publish()
}

// connect waits for the agent, for as long as the machine lives and the boot
// may take.
func (s *sandbox) connect(ctx context.Context, m Machine) (*link, error) {
	limit := s.opts.BootTimeout
	if limit == 0 {
		limit = bootTimeoutHardware
		if m.Describe().Accelerator == "tcg" {
			limit = bootTimeoutEmulated
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the guest's agent did not answer within %s", limit))
	defer cancel()
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	go func() {
		select {
		case <-m.Exited():
			give(errors.New(bootEnd(m)))
		case <-ctx.Done():
		}
	}()
	client, err := s.connectAgent(ctx, m.DialAgent)
	if err != nil {
		select {
		case <-m.Exited():
			return nil, errors.New(bootEnd(m))
		default:
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	return client, nil
}

// bootEnd says why a machine ended that should have come up.
func bootEnd(m Machine) string {
	if reason := m.ExitReason(); reason != "" {
		return reason
	}
	return "the guest powered off while it booted"
}

// setUp hands the guest all that it needs before the first process.
func (s *sandbox) setUp(ctx context.Context, v *vm, serials map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	// Nobody waits for the answers while the machine is gone.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-v.machine.Exited():
			cancel()
		case <-stop:
		}
	}()

	info, err := v.client.agent.Info(ctx, &agentpb.InfoRequest{})
	if err != nil {
		return fmt.Errorf("ask the agent who it is: %w", wire.FromStatus(err))
	}
	s.mu.Lock()
	s.machine.KernelVersion = clean(info.GetKernelVersion(), maxGuestText)
	s.machine.BootID = clean(info.GetBootId(), maxGuestText)
	s.passed(drivers.StageAgentUp)
	s.publish()
	s.mu.Unlock()

	req, err := configureRequest(v.config, v.secrets, serials, time.Now(), newSeed())
	if err != nil {
		return err
	}
	if _, err := v.client.agent.Configure(ctx, req); err != nil {
		return fmt.Errorf("set the guest up: %w", wire.FromStatus(err))
	}
	for _, ct := range v.config.Containers {
		if _, err := v.client.agent.CreateContainer(ctx, v.containerRequest(ct, serials[ct.Rootfs])); err != nil {
			return fmt.Errorf("make container %s: %w", ct.Name, wire.FromStatus(err))
		}
	}
	return nil
}

// newSeed returns randomness for a guest.
func newSeed() []byte {
	seed := make([]byte, seedBytes)
	_, _ = rand.Read(seed) // never fails
	return seed
}

// withConsole adds what the guest printed last, which is the only trace of most
// failed boots.
func withConsole(err error, c *console) error {
	last := c.lastLines()
	if last == "" {
		return err
	}
	return fmt.Errorf("%w; the guest's console ends with: %s", err, last)
}
