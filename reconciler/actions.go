package reconciler

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

const (
	// bootTimeout bounds a boot: the slowest host without hardware acceleration
	// needs a fraction of it.
	bootTimeout = 5 * time.Minute
	// endTimeout comes on top of the grace period.
	endTimeout = time.Minute
	// reattachTimeout bounds the search for a process of an earlier daemon.
	reattachTimeout = 20 * time.Second
)

// perform takes one step. It is called without the object's mutex.
func (m *Manager) perform(ctx context.Context, o *object, op *operation) error {
	switch a := op.action; a.Verb {
	case ActReattach:
		return m.reattach(ctx, o)
	case ActPrepare:
		return m.prepare(ctx, o, op)
	case ActLaunch:
		return m.launch(ctx, o, op)
	case ActBootstrap:
		return m.bootstrap(ctx, o, op)
	case ActTakeOver:
		return m.takeOver(ctx, o)
	case ActStart:
		return m.startContainer(ctx, o, a.Container)
	case ActKill:
		return m.killContainer(ctx, o, a.Container)
	case ActUpdate:
		return m.updateLive(ctx, o)
	case ActPause:
		return m.call(ctx, o, drivers.Runtime.Pause)
	case ActResume:
		return m.resume(ctx, o, op.goal.goal)
	case ActStop:
		return m.stop(ctx, o)
	case ActShutdown:
		return m.shutdown(ctx, o)
	case ActCleanUp:
		return m.cleanUp(ctx, o)
	case ActRemoveDisk:
		return m.removeDisk(o)
	case ActRemove:
		return m.remove(ctx, o)
	default:
		return fmt.Errorf("%w: unknown action %s", drivers.ErrUnsupported, a)
	}
}

// reattach finds the plugin process of an earlier daemon. Whatever keeps it from
// that, the object goes on: what cannot be reached is cleaned up.
func (m *Manager) reattach(ctx context.Context, o *object) error {
	ctx, cancel := context.WithTimeout(ctx, reattachTimeout)
	defer cancel()
	inst, err := m.opts.Runtimes.Reattach(ctx, string(o.bundle))
	if err == nil {
		var snap drivers.Snapshot
		if snap, err = inst.State(ctx); err == nil {
			o.mu.Lock()
			m.attachTo(o, inst, snap)
			m.holdDisks(o)
			o.mu.Unlock()
			return nil
		}
		inst.Detach()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // The daemon ends: the next one looks again.
	}
	m.log.Debug("no plugin process to reattach to", "object", o.key.String(), "error", err)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attach, o.lostWhy = AttachLost, "the plugin process ended while no daemon was watching"
	if !errors.Is(err, drivers.ErrNotFound) {
		o.lostWhy = "the plugin process cannot be reached: " + err.Error()
	}
	return nil
}

// launch starts the plugin process, when it is this sandbox's turn to boot.
func (m *Manager) launch(ctx context.Context, o *object, op *operation) error {
	o.mu.Lock()
	survivor := o.survivor()
	o.mu.Unlock()
	if !survivor { // which does not boot
		if err := m.takeTurn(ctx, o, op); err != nil {
			return err
		}
	}
	o.mu.Lock()
	sandbox := o.record.Sandbox
	runtime := m.runtimeOf(sandbox)
	if survivor {
		runtime = o.record.Built.Runtime
	} else {
		if o.prepared != nil {
			runtime = o.prepared.runtime // for which the configuration was made
		}
		o.ending = false
		o.measured = false
	}
	o.mu.Unlock()
	inst, err := m.opts.Runtimes.Launch(ctx, runtime, string(o.bundle))
	if err != nil {
		m.giveTurn(o)
		return m.explainRuntime(sandbox, err)
	}
	snap, err := inst.State(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	m.attachTo(o, inst, snap)
	if err != nil {
		return fmt.Errorf("ask the new plugin process for its state: %w", err)
	}
	o.stage(stagePluginUp, time.Now())
	return nil
}

// bootstrap writes the configuration and boots the VM.
func (m *Manager) bootstrap(ctx context.Context, o *object, op *operation) error {
	defer m.giveTurn(o)
	if err := m.takeTurn(ctx, o, op); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	o.mu.Lock()
	p, inst := o.prepared, o.instance
	if p == nil || inst == nil {
		o.mu.Unlock()
		return nil // The world has changed: look again.
	}
	next := *o.record
	next.Built = &Build{
		BuildHash: p.spec, ConfigHash: p.config, LiveHash: p.live, RestartedAt: next.Overrides.RestartedAt,
		Runtime: p.runtime, Images: p.images, Claims: p.claims,
	}
	// Before the boot: what touches the disk is on record.
	err := m.replaceRecord(o, &next)
	o.mu.Unlock()
	if err != nil {
		return err
	}
	if err := state.WriteJSON(o.bundle.ConfigurationFile(), &p.configuration); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	err = inst.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: string(o.bundle), Secrets: p.secrets})
	m.refresh(ctx, o, inst)
	o.mu.Lock()
	defer o.mu.Unlock()
	// Secrets stay in memory no longer than need be, and after a failure what was
	// prepared may be what is wrong: an image or kernel that has gone since.
	o.prepared = nil
	if err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	m.holdDisks(o)
	return nil
}

// takeOver has the plugin process, a new one, go on with the VM that the one
// before it has left running. If it cannot, the VM is lost.
func (m *Manager) takeOver(ctx context.Context, o *object) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	o.mu.Lock()
	inst := o.instance
	if inst == nil {
		o.mu.Unlock()
		return nil // The world has changed: look again.
	}
	refs := m.resolve(o)
	secrets := bundle.Secrets(o.record.Sandbox, refs.configMaps, refs.secrets)
	runtime := o.record.Built.Runtime
	o.mu.Unlock()
	err := inst.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: string(o.bundle), Secrets: secrets})
	if errors.Is(err, drivers.ErrInvalidState) {
		// An earlier daemon has asked for the same.
		err = awaitStart(ctx, inst)
	}
	m.refresh(ctx, o, inst)
	if err != nil {
		return fmt.Errorf("take over the virtual machine: %w", err)
	}
	o.mu.Lock()
	if o.disks == nil { // It was another daemon that saw the VM begin.
		m.holdDisks(o)
	}
	o.mu.Unlock()
	m.opts.Metrics.AddPluginRestart(runtime)
	m.event(o.key, eventWarning, "PluginRestarted", "the plugin process ended; a new one has taken the virtual machine over")
	return nil
}

// awaitStart waits until a sandbox has left the state created.
func awaitStart(ctx context.Context, inst Instance) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, err := inst.Events(ctx)
	if err != nil {
		return err
	}
	for snap := range changes {
		if snap.State != drivers.StateCreated {
			return nil
		}
	}
	return errors.New("the plugin process tells no more of its state")
}

// startContainer starts a container's init process. That it does not start is
// the container's failure, not the step's: its restart policy says what follows.
func (m *Manager) startContainer(ctx context.Context, o *object, name string) error {
	inst := o.attached()
	if inst == nil {
		return nil
	}
	cctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := inst.StartProcess(cctx, name)
	m.refresh(ctx, o, inst)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.containers.get(name)
	up := o.instance == inst && (o.snapshot.State == drivers.StateBooted || o.snapshot.State == drivers.StateRunning)
	// A runtime may end the VM when its first process cannot be started. That there
	// is no such program is the container's failure all the same.
	itsOwn := errors.Is(err, drivers.ErrNotFound) || errors.Is(err, drivers.ErrInvalidArgument)
	if c == nil || !up && !itsOwn || errors.Is(err, drivers.ErrInvalidState) {
		// The sandbox went away meanwhile, or was ahead of us: look again.
		return fmt.Errorf("start container %s: %w", name, err)
	}
	c.startFailed(err, c.policy(o.spec().PodTemplate.Spec.RestartPolicy), time.Now())
	m.event(o.key, eventWarning, "StartFailed", "container %s: %v", name, err)
	return nil
}

func (m *Manager) call(ctx context.Context, o *object, do func(drivers.Runtime, context.Context) error) error {
	inst := o.attached()
	if inst == nil {
		return nil
	}
	cctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := do(inst, cctx)
	m.refresh(ctx, o, inst)
	return err
}

// resume lets the VM run again, be it only to end it. What cannot be resumed can
// only be ended the hard way.
func (m *Manager) resume(ctx context.Context, o *object, goal Goal) error {
	err := m.call(ctx, o, drivers.Runtime.Resume)
	if err != nil && ctx.Err() == nil && !goal.up() {
		m.event(o.key, eventWarning, ReasonStopFailed, "%v; the plugin process is ended instead", err)
		return m.cleanUp(ctx, o)
	}
	return err
}

// stop ends the containers and the VM. If the plugin cannot, its process is
// ended instead, and the VM with it.
func (m *Manager) stop(ctx context.Context, o *object) error {
	o.mu.Lock()
	inst := o.instance
	grace := o.gracePeriod()
	o.ending = true
	o.mu.Unlock()
	if inst == nil {
		return nil
	}
	sctx, cancel := context.WithTimeout(ctx, grace+endTimeout)
	defer cancel()
	err := inst.Stop(sctx, drivers.StopOptions{GracePeriod: grace})
	if err != nil && ctx.Err() == nil {
		m.event(o.key, eventWarning, ReasonStopFailed, "%v; the plugin process is ended instead", err)
		err = m.cleanUp(ctx, o)
	}
	m.refresh(ctx, o, inst)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, c := range o.containers {
		if c.done && o.record.Outcome != nil {
			continue
		}
		p, _ := o.snapshot.Process(c.status.Name)
		c.stopped(p, now)
	}
	o.vmBackoff.reset()
	m.event(o.key, eventNormal, "Stopped", "the virtual machine was ended")
	return nil
}

// shutdown ends the plugin process and removes what it needed to run.
func (m *Manager) shutdown(ctx context.Context, o *object) error {
	if inst := o.attached(); inst != nil {
		sctx, cancel := context.WithTimeout(ctx, rpcTimeout)
		defer cancel()
		if err := inst.Shutdown(sctx); err != nil && ctx.Err() == nil {
			m.log.Warn("shut a plugin process down: end it instead", "object", o.key.String(), "error", err)
		}
		select {
		case <-inst.Done():
		case <-sctx.Done():
		}
	}
	return m.cleanUp(ctx, o)
}

// cleanUp ends whatever is left of the plugin process.
func (m *Manager) cleanUp(ctx context.Context, o *object) error {
	o.mu.Lock()
	hypervisor := o.record.Hypervisor
	o.ending = true
	o.mu.Unlock()
	cctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	var extra []procfs.ID
	if hypervisor.PID != 0 {
		extra = append(extra, hypervisor)
	}
	if err := m.opts.Runtimes.CleanUp(cctx, string(o.bundle), extra...); err != nil {
		return fmt.Errorf("clean up after the plugin process: %w", err)
	}
	m.giveTurn(o)
	o.mu.Lock()
	defer o.mu.Unlock()
	m.detachFrom(o)
	o.attach, o.lostWhy = AttachNone, ""
	if o.record.Hypervisor.PID == 0 {
		return nil
	}
	next := *o.record
	next.Hypervisor = procfs.ID{}
	return m.replaceRecord(o, &next)
}

// removeDisk removes the writable disk and what is remembered of the containers
// that ran on it.
func (m *Manager) removeDisk(o *object) error {
	if err := os.Remove(o.bundle.Disk()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the disk: %w", err)
	}
	if err := os.RemoveAll(o.bundle.VolumesDir()); err != nil {
		return fmt.Errorf("remove the disks of volumes: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	next := *o.record
	next.Built, next.Outcome = nil, nil
	if err := m.replaceRecord(o, &next); err != nil {
		return err
	}
	o.stopProbers()
	o.containers = nil
	o.vmBackoff.reset()
	return nil
}

// remove removes the bundle, its record last, and forgets the object, unless a
// manifest wants it again.
func (m *Manager) remove(ctx context.Context, o *object) error {
	if err := m.endExport(ctx, o); err != nil {
		return err
	}
	entries, err := os.ReadDir(string(o.bundle))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the bundle: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(string(o.bundle), e.Name())
		if path == o.bundle.ObjectFile() {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove the bundle: %w", err)
		}
	}
	if err := os.RemoveAll(string(o.bundle)); err != nil {
		return fmt.Errorf("remove the bundle: %w", err)
	}
	// Only an empty directory goes: another sandbox's bundle may lie beside.
	m.making.Lock()
	_ = os.Remove(filepath.Dir(string(o.bundle)))
	m.making.Unlock()

	o.mu.Lock()
	defer o.mu.Unlock()
	m.event(o.key, eventNormal, "Deleted", "nothing is left of the sandbox")
	m.mu.Lock()
	delete(m.synced.confirmed, o.key)
	m.mu.Unlock()
	if !o.intent.wants() {
		m.forget(o)
		return nil
	}
	claims := o.claims
	m.unrefer(o)
	m.detachClaims(o)
	m.reclaimTemplates(o.key.Namespace, claims)
	o.startOver()
	return nil
}

// attached returns the instance, nil if there is none.
func (o *object) attached() Instance {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.instance
}

// gracePeriod is how long the containers have to end by themselves.
func (o *object) gracePeriod() time.Duration {
	if s := o.record.Overrides.GraceSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	const kubernetesDefault = 30 * time.Second
	if s := o.spec().PodTemplate.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return kubernetesDefault
}

// startOver makes the object one of which nothing was ever applied.
func (o *object) startOver() {
	o.stopProbers()
	o.record, o.attach = nil, AttachNone
	o.containers, o.prepared, o.imagesFor, o.vmBackoff = nil, nil, "", backoff{}
	o.vmUp, o.ending, o.measured = false, false, false
	o.snapshot, o.stages, o.goal = drivers.Snapshot{}, nil, goalKey{}
	o.progress, o.change = progress{}, change{}
	o.status, o.saved = manifests.SandboxStatus{}, [sha256.Size]byte{}
	clear(o.failures)
}
