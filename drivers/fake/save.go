package fake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// savedFile is, beside DiskFile, what a saved state consists of.
const savedFile = "state.json"

// saved is the content of savedFile.
type saved struct {
	Version       int             `json:"version"`
	Configuration json.RawMessage `json:"configuration"` // what is Restorable of it
	State         drivers.State   `json:"state"`
	BootID        string          `json:"bootID"`
	LastPID       int             `json:"lastPID"`
	DiskBytes     int64           `json:"diskBytes"`
	Processes     []savedProcess  `json:"processes"`
}

const savedVersion = 1

type savedProcess struct {
	Status drivers.ProcessStatus `json:"status"`
	Init   bool                  `json:"init,omitempty"`
	Spec   drivers.ProcessSpec   `json:"spec"`
	Traps  map[int]int           `json:"traps,omitempty"`
	Size   drivers.TerminalSize  `json:"size,omitzero"`
	Memory memory                `json:"memory,omitzero"`
}

// memory is what a program that is saved goes on with: the commands that it has
// run are not run again.
type memory struct {
	Vars  map[string]string `json:"vars,omitempty"`
	Steps int               `json:"steps,omitempty"`
	// Failed are the exit codes of those of the steps that have failed.
	Failed map[int]int `json:"failed,omitempty"`
}

// step runs a command, unless the process had run it before it was saved.
func (sh *shell) step(prog program) (int, error) {
	m := &sh.p.memory
	if sh.skipped < sh.done {
		sh.skipped++
		return m.Failed[sh.skipped-1], sh.ctx.Err()
	}
	code, err := prog(sh)
	if err != nil {
		return code, err
	}
	sh.rt.mu.Lock()
	defer sh.rt.mu.Unlock()
	if sh.ctx.Err() != nil {
		return 0, errKilled // and may be running anew
	}
	if code != 0 {
		if m.Failed == nil {
			m.Failed = map[int]int{}
		}
		m.Failed[m.Steps] = code
	}
	m.Steps++
	return code, nil
}

// SaveState implements drivers.Runtime.
func (r *Runtime) SaveState(ctx context.Context, path string, opts drivers.SaveOptions) error {
	const op = "save the state"
	if err := r.respond(ctx); err != nil {
		return err
	}
	r.copying.Lock()
	defer r.copying.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.require(op, drivers.StateBooted, drivers.StateRunning, drivers.StatePaused); err != nil {
		return err
	}
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: %w: %q is not an absolute path", op, drivers.ErrInvalidArgument, path)
	}
	if err := r.saveTo(ctx, path); err != nil {
		return fmt.Errorf("%s: %w", op, kind(err))
	}
	if opts.Stop {
		r.end("")
	}
	return nil
}

// saveTo writes all down. The caller holds mu: nothing changes meanwhile.
func (r *Runtime) saveTo(ctx context.Context, path string) (err error) {
	if err := os.Mkdir(path, state.DirMode); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	st := saved{Version: savedVersion, State: r.state, BootID: r.bootID, LastPID: r.lastPID}
	if st.Configuration, err = json.Marshal(r.config.Restorable()); err != nil {
		return err
	}
	disk := filepath.Join(path, DiskFile)
	err = sparsefile.Copy(ctx, disk, filepath.Join(r.bundle, DiskFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = emptyDisk(disk)
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(disk)
	if err != nil {
		return err
	}
	st.DiskBytes = info.Size()
	for _, p := range r.order {
		if !p.exec {
			st.Processes = append(st.Processes, savedProcess{
				Status: p.status(), Init: p.init, Spec: p.spec, Traps: p.traps, Size: p.size, Memory: p.memory,
			})
		}
	}
	return state.WriteJSON(filepath.Join(path, savedFile), st)
}

// RestoreState implements drivers.Runtime.
func (r *Runtime) RestoreState(ctx context.Context, req drivers.BootstrapRequest, path string) error {
	return r.bringUp(ctx, "restore the state", req, func(config drivers.Configuration) (func() error, error) {
		st, err := readSaved(path, config)
		if err == nil {
			err = takeDisk(ctx, filepath.Join(path, DiskFile), filepath.Join(req.Bundle, DiskFile))
		}
		if err != nil {
			return nil, kind(err)
		}
		return func() error { return r.goOn(st) }, nil
	})
}

// takeDisk replaces a disk by a copy of another.
func takeDisk(ctx context.Context, from, to string) error {
	next := to + ".restored"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := sparsefile.Copy(ctx, next, from); err != nil {
		return err
	}
	return os.Rename(next, to)
}

func readSaved(path string, config drivers.Configuration) (saved, error) {
	var st saved
	bad := func(err error) (saved, error) {
		return saved{}, fmt.Errorf("%w: %s: %w", drivers.ErrInvalidArgument, path, err)
	}
	data, err := os.ReadFile(filepath.Join(path, savedFile)) //nolint:gosec // the caller names the directory
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return bad(err)
	}
	if st.Version != savedVersion {
		return bad(fmt.Errorf("version %d is not %d", st.Version, savedVersion))
	}
	want, err := json.Marshal(config.Restorable())
	if err != nil {
		return st, err
	}
	var is bytes.Buffer
	if err := json.Compact(&is, st.Configuration); err != nil || !bytes.Equal(is.Bytes(), want) {
		return bad(errors.New("the sandbox's configuration is another"))
	}
	info, err := os.Stat(filepath.Join(path, DiskFile))
	if err != nil || info.Size() != st.DiskBytes {
		return bad(errors.New("the disk is damaged"))
	}
	return st, nil
}

// goOn puts what was saved into the sandbox. The caller holds mu.
func (r *Runtime) goOn(st saved) error {
	r.bootID, r.lastPID = st.BootID, st.LastPID
	for _, k := range st.Processes {
		p := r.register(k.Status.ID, k.Status.Container, k.Spec, k.Init)
		p.state, p.pid, p.startedAt = k.Status.State, k.Status.PID, k.Status.StartedAt
		p.traps, p.size, p.memory = maps.Clone(k.Traps), k.Size, k.Memory
		switch {
		case p.state == drivers.ProcessExited && k.Status.Exit != nil:
			p.run.status = *k.Status.Exit
			p.run.cancel = func() {}
			close(p.run.ended)
		case p.state == drivers.ProcessRunning:
			if err := r.resume(p); err != nil {
				return err
			}
		}
	}
	if st.State != drivers.StateBooted {
		r.passed(drivers.StageRunning)
	}
	r.state = st.State
	return nil
}

// resume goes on with a process that ran when it was saved. The caller holds mu.
func (r *Runtime) resume(p *process) error {
	prog, err := parse(p.spec.Args, p.init)
	if err != nil {
		return err
	}
	stdout, stderr, closeLog, err := r.openLog(p)
	if err != nil {
		return err
	}
	r.launch(p, prog, nil, stdout, stderr, closeLog)
	return nil
}
