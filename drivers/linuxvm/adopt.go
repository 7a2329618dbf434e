package linuxvm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// errNoMachine means that there is no machine to take over.
var errNoMachine = errors.New("no machine to take over")

// adoptTimeout bounds a take-over: the guest runs already, but the host may be busy.
const adoptTimeout = 2 * time.Minute

// adoptVM takes over the machine that an earlier process of this runtime has
// left running in the bundle. One that is of no use is ended. If there is none, or
// none any more, the error is errNoMachine.
func (s *sandbox) adoptVM(v *vm) (record, error) {
	// Whoever asked may be gone before it is done, as a daemon is that is killed: that
	// must not cost a machine that runs.
	ctx, cancel := context.WithTimeout(s.life, adoptTimeout)
	defer cancel()
	m, rec, err := s.leftMachine(ctx, v)
	if err != nil {
		return record{}, err
	}
	if err := s.adoptable(rec); err != nil {
		s.log.WarnContext(ctx, "a machine is made anew", "id", v.config.ID, "reason", err)
		return record{}, errors.Join(errNoMachine, s.discard(ctx, m))
	}
	if err := s.takeOver(ctx, v, m, rec, nil); err != nil {
		return record{}, errors.Join(fmt.Errorf("take over the virtual machine: %w", err), s.discard(ctx, m))
	}
	return rec, nil
}

// leftMachine returns the machine on record in the bundle, and what else the
// process has left behind that started it is removed.
func (s *sandbox) leftMachine(ctx context.Context, v *vm) (Machine, record, error) {
	rec, err := readRecord(v.bundle)
	if err != nil {
		return nil, record{}, errNoMachine
	}
	if rec.Unfinished != "" {
		if err := removeUnfinished(rec.Unfinished); err != nil {
			s.log.WarnContext(ctx, "what was saved of a machine by half stays behind", "id", v.config.ID, "error", err)
		}
		rec.Unfinished = ""
	}
	m, err := s.hv.Adopt(ctx, machineConfig(v), rec.Machine)
	if errors.Is(err, drivers.ErrNotFound) {
		s.log.InfoContext(ctx, "the machine on record is gone", "id", v.config.ID, "error", err)
		err = errNoMachine
	}
	return m, rec, err
}

// adoptable says why a machine cannot be gone on with.
func (s *sandbox) adoptable(rec record) error {
	switch {
	case rec.Configuration != s.configuration:
		return errors.New("its configuration is another")
	case rec.State != drivers.StateBooted && rec.State != drivers.StateRunning && rec.State != drivers.StatePaused:
		return fmt.Errorf("it was %s when it was left alone", rec.State)
	}
	return nil
}

// takeOver connects to the agent of a machine and makes sure that it is the one
// on record. A guest that was restored gets a seed.
func (s *sandbox) takeOver(ctx context.Context, v *vm, m Machine, rec record, seed []byte) error {
	// Only a guest that runs answers, and it may have been left amid a SaveState.
	if err := m.Resume(ctx); err != nil {
		return err
	}
	link, err := s.meet(ctx, m, rec.Machine.BootID)
	if err != nil {
		return err
	}
	v.machine, v.client = m, newLine(link)
	err = v.setClock(ctx, seed)
	if err != nil && seed == nil {
		s.log.WarnContext(ctx, "the clock of a machine that was taken over may be wrong", "id", v.config.ID, "error", err)
		err = nil
	}
	if err == nil && rec.State == drivers.StatePaused {
		err = m.Pause(ctx)
	}
	if err != nil {
		v.client.close()
	}
	return err
}

// meet connects to the agent of a guest that was met before: one that has booted
// since is another.
func (s *sandbox) meet(ctx context.Context, m Machine, bootID string) (*link, error) {
	link, err := s.connect(ctx, m)
	if err != nil {
		return nil, err
	}
	info, err := agentpb.NewAgentClient(link.conn).Info(ctx, &agentpb.InfoRequest{})
	if err == nil && clean(info.GetBootId(), maxGuestText) != bootID {
		err = errors.New("the guest is another")
	}
	if err != nil {
		_ = link.close()
		return nil, wire.FromStatus(err)
	}
	return link, nil
}

// discard ends a machine.
func (s *sandbox) discard(ctx context.Context, m Machine) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	if err := m.Kill(ctx); err != nil {
		return fmt.Errorf("end the virtual machine: %w", err)
	}
	return nil
}

// goOn makes the sandbox what it was when its machine was left alone or saved, and
// stays with the processes that ran then. The caller holds mu.
func (s *sandbox) goOn(v *vm, rec record) {
	machine := rec.Machine
	s.vm, s.machine, s.timeline = v, &machine, rec.Timeline
	for _, k := range rec.Processes {
		p := &process{id: k.ID, container: k.Container, init: k.Init, spec: k.Spec}
		s.register(p)
		p.state, p.pid, p.startedAt, p.exit = k.State, k.PID, k.StartedAt, k.Exit
		p.run.number, p.run.from = k.Run, k.Output
		switch k.State {
		case drivers.ProcessRunning:
			s.active.Go(func() { s.resume(v, p, p.run) })
		case drivers.ProcessExited:
			if k.Exit != nil {
				p.run.exit = *k.Exit
			}
			p.run.output.close()
			close(p.run.done)
		case drivers.ProcessCreated:
		}
	}
	s.apply(eventBooted)
	if rec.State != drivers.StateBooted {
		s.apply(eventStarted)
	}
	if rec.State == drivers.StatePaused {
		s.apply(eventPaused)
	}
}

// resume goes on with a process that runs.
func (s *sandbox) resume(v *vm, p *process, r *run) {
	log, err := openLog(v, p.id)
	if err != nil {
		r.output.close()
		s.exited(v, p, r, drivers.ExitStatus{}, err)
		return
	}
	defer s.closeLog(p.id, log)
	s.accompany(v, p, r, log)
}
