package linuxvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// unfinishedMark is in the name of a directory that is not a saved state yet.
const unfinishedMark = ".unfinished-"

// SaveState writes memory, devices and disk while the CPUs stand still.
func (s *sandbox) SaveState(ctx context.Context, path string, opts drivers.SaveOptions) error {
	const op = "save the state"
	if _, err := s.restorer(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: %w: %q is not an absolute path", op, drivers.ErrInvalidArgument, path)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v, was, end, err := s.beginCapture(op, cancel, drivers.StateBooted, drivers.StateRunning, drivers.StatePaused)
	if err != nil {
		return err
	}
	defer end()
	if disks := volumeDisks(v.config.Volumes, v.bundle); len(disks) > 0 {
		return fmt.Errorf("%s: %w: a volume is on a disk of its own, %s, which may have changed when the machine goes on", op, drivers.ErrUnsupported, disks[0].Path)
	}
	if i := slices.IndexFunc(v.config.Volumes, func(c drivers.Volume) bool { return c.HostPath != nil }); i >= 0 {
		return fmt.Errorf("%s: %w: volume %q is a folder of the host's, which may have changed when the machine goes on", op, drivers.ErrUnsupported, v.config.Volumes[i].Name)
	}
	if list := v.config.Interfaces; len(list) > 0 {
		return fmt.Errorf("%s: %w: the sandbox is on network %s, where another cannot have its address", op, drivers.ErrUnsupported, list[0].Network)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w: %s is there already", op, drivers.ErrInvalidArgument, path)
	}
	dir, err := s.makeUnfinished(path)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer s.finish(dir)
	if err := s.saveVM(ctx, v, was, dir, path, opts); err != nil {
		if reason, gone := v.gone(); gone {
			err = fmt.Errorf("%s (%w)", reason, err)
		}
		return fmt.Errorf("%s: %w", op, exhausted(err))
	}
	return nil
}

// restorer returns the hypervisor if it can save machines and restore them here.
func (s *sandbox) restorer() (Restorer, error) {
	r, ok := s.hv.(Restorer)
	if !ok {
		return nil, fmt.Errorf("%w on %s", drivers.ErrUnsupported, s.hv.Name())
	}
	return r, r.CanSave()
}

// makeUnfinished makes the directory that is to be the saved state at path, and
// notes it for the case that this process is killed.
func (s *sandbox) makeUnfinished(path string) (string, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+unfinishedMark)
	if err != nil {
		return "", notFound(err)
	}
	s.mu.Lock()
	s.unfinished = dir
	s.mu.Unlock()
	s.save()
	return dir, nil
}

// finish removes what has not become a saved state.
func (s *sandbox) finish(dir string) {
	if err := removeUnfinished(dir); err != nil {
		s.log.Warn("what was saved of a machine by half stays behind", "error", err)
	}
	s.mu.Lock()
	s.unfinished = ""
	s.mu.Unlock()
	s.save()
}

func removeUnfinished(dir string) error {
	if !strings.Contains(filepath.Base(dir), unfinishedMark) {
		return fmt.Errorf("%s is no half of a saved state", dir)
	}
	return os.RemoveAll(dir)
}

// saveVM saves a machine that was in the given state in dir, and that at path
// once it is whole and on the disk.
func (s *sandbox) saveVM(ctx context.Context, v *vm, was drivers.State, dir, path string, opts drivers.SaveOptions) error {
	if was != drivers.StatePaused {
		pctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := v.machine.Pause(pctx); err != nil {
			return errors.Join(fmt.Errorf("stop the CPUs: %w", err), s.wake(ctx, v))
		}
	}
	st, err := s.copyStanding(ctx, v, dir)
	if opts.Stop && err == nil {
		// It must be whole before the machine goes.
		if err = st.complete(ctx, dir, path); err == nil && s.stopSaved(v) {
			return nil
		}
	}
	if was != drivers.StatePaused {
		err = errors.Join(err, s.wake(ctx, v))
	}
	if err == nil && !opts.Stop {
		err = st.complete(ctx, dir, path)
	}
	return err
}

// copyStanding writes down all that may change when the CPUs run on.
func (s *sandbox) copyStanding(ctx context.Context, v *vm, dir string) (saved, error) {
	st := saved{Version: savedVersion, Time: time.Now().UTC(), Runtime: s.hv.Name(), DiskBytes: v.config.DiskBytes}
	saver, ok := v.machine.(Saver)
	if !ok {
		return st, fmt.Errorf("%w: the virtual machine cannot be saved", drivers.ErrUnsupported)
	}
	var err error
	if st.Bases, err = basesOf(v.config); err != nil {
		return st, err
	}
	if err := saver.Save(ctx, filepath.Join(dir, memoryFile)); err != nil {
		return st, err
	}
	if err := sparsefile.Copy(ctx, filepath.Join(dir, DiskFile), filepath.Join(v.bundle, DiskFile)); err != nil {
		return st, err
	}
	// Last: what the guest had sent before it stood still has arrived by now. What
	// has not, it sends again.
	st.Machine, err = s.recordToSave(v)
	return st, err
}

// recordToSave is the record, with what only a saved one has.
func (s *sandbox) recordToSave(v *vm) (record, error) {
	hash, err := hashOf(v.config.Restorable())
	if err != nil {
		return record{}, err
	}
	s.mu.Lock()
	// A process may just have started, and Stop may have come.
	if err := s.require("save", drivers.StateBooted, drivers.StateRunning, drivers.StatePaused); err != nil {
		s.mu.Unlock()
		return record{}, err
	}
	rec := s.record()
	logs := make([]*crilog.Writer, len(s.order))
	for i, id := range s.order {
		logs[i] = s.processes[id].run.log
	}
	s.mu.Unlock()
	rec.Configuration, rec.Unfinished = hash, ""
	for i := range rec.Processes {
		p := &rec.Processes[i]
		if p.State != drivers.ProcessRunning {
			continue
		}
		p.Output = &outputPosition{}
		if logs[i] != nil {
			at := logs[i].Position()
			p.Output.Stdout, p.Output.Stderr = at.Stdout, at.Stderr
		}
	}
	return rec, nil
}

// complete writes what is left to write, sees that all is on the disk, and gives
// the saved state its name.
func (st saved) complete(ctx context.Context, dir, path string) error {
	for _, name := range []string{memoryFile, DiskFile} {
		f, err := os.Open(filepath.Join(dir, name)) //nolint:gosec // the caller names the directory
		if err != nil {
			return err
		}
		defer f.Close()
		if name == memoryFile {
			if st.Memory, err = newPart(ctx, f); err != nil {
				return err
			}
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := state.WriteJSON(filepath.Join(dir, savedFile), st); err != nil {
		return err
	}
	// Over a directory that has come to be there, unless that is empty, it fails.
	if err := os.Rename(dir, path); err != nil {
		return err
	}
	return state.SyncDir(filepath.Dir(path))
}

// wake lets a machine run on that stood still to be saved.
func (s *sandbox) wake(ctx context.Context, v *vm) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := v.machine.Resume(ctx); err != nil {
		if _, gone := v.gone(); !gone {
			s.end(v, "the virtual machine does not run on after it was to be saved: "+err.Error())
		}
		return fmt.Errorf("let the virtual machine run on: %w", err)
	}
	if err := v.setClock(ctx, nil); err != nil {
		s.log.WarnContext(ctx, "the clock of a machine that was saved may be wrong", "id", v.config.ID, "error", err)
	}
	return nil
}

// stopSaved ends a machine that was saved, unless a Stop has come first: that
// wants the guest awake.
func (s *sandbox) stopSaved(v *vm) bool {
	s.mu.Lock()
	ok := s.apply(eventStop)
	s.mu.Unlock()
	if ok {
		s.end(v, "")
	}
	return ok
}
