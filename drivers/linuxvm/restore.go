package linuxvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
)

// restoredDisk is, in the bundle, the copy of the saved disk until the machine
// that runs on it is known to work.
const restoredDisk = DiskFile + ".restored"

// RestoreState makes a machine that goes on where a saved one was.
func (s *sandbox) RestoreState(ctx context.Context, req drivers.BootstrapRequest, path string) error {
	const op = "restore the state"
	restorer, err := s.restorer()
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: %w: %q is not an absolute path", op, drivers.ErrInvalidArgument, path)
	}
	return s.bringUp(ctx, op, req, func(ctx context.Context, v *vm) (*record, error) {
		if err := s.endLeftMachine(v); err != nil {
			return nil, err
		}
		return s.restoreVM(ctx, v, restorer, path)
	})
}

// endLeftMachine ends a machine that is running in the bundle still: the saved one
// takes its place.
func (s *sandbox) endLeftMachine(v *vm) error {
	ctx, cancel := context.WithTimeout(s.life, adoptTimeout)
	defer cancel()
	m, _, err := s.leftMachine(ctx, v)
	if errors.Is(err, errNoMachine) {
		return nil
	}
	if err != nil {
		return err
	}
	s.log.WarnContext(ctx, "a machine that was left running is ended for a saved one", "id", v.config.ID)
	return s.discard(ctx, m)
}

// restoreVM returns a machine that goes on from a saved state, or leaves none
// behind and the bundle's disk as it was.
func (s *sandbox) restoreVM(ctx context.Context, v *vm, restorer Restorer, path string) (_ *record, err error) {
	st, err := checkSaved(ctx, path, s.hv.Name(), v.config)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(v.bundle, restoredDisk)
	defer func() {
		if rerr := os.Remove(data); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	machine, _, err := s.makeReady(v, data, func() error {
		// One that a crash has left.
		if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return exhausted(sparsefile.Copy(ctx, data, filepath.Join(path, DiskFile)))
	})
	if err != nil {
		return nil, err
	}
	rec := st.Machine
	m, err := restorer.Restore(ctx, machine, rec.Machine, filepath.Join(path, memoryFile))
	if err != nil {
		return nil, fmt.Errorf("restore the virtual machine: %w", err)
	}
	was := rec.Machine
	rec.Machine = m.Describe()
	rec.Machine.KernelVersion, rec.Machine.BootID = was.KernelVersion, was.BootID
	s.started(rec.Machine)
	err = s.takeOver(ctx, v, m, rec, newSeed())
	if err == nil {
		// From here on it is the sandbox's own.
		if err = os.Rename(data, filepath.Join(v.bundle, DiskFile)); err != nil {
			v.client.close()
		}
	}
	if err != nil {
		err = withConsole(fmt.Errorf("go on with the virtual machine that was restored: %w", err), v.console)
		return nil, errors.Join(err, s.discard(ctx, m))
	}
	rec.Timeline = s.timelineOf(rec.State)
	return &rec, nil
}

// timelineOf is that of a sandbox which is at once in a state.
func (s *sandbox) timelineOf(state drivers.State) []drivers.Stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	stages := []string{drivers.StageAgentUp, drivers.StageBooted}
	if state != drivers.StateBooted {
		stages = append(stages, drivers.StageRunning)
	}
	timeline, now := s.timeline, time.Now()
	for _, stage := range stages {
		timeline = append(timeline, drivers.Stage{Name: stage, Time: now})
	}
	return timeline
}
