package linuxvm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// MachineFile is, in the bundle, what the process that takes a machine over needs
// to know of it. It is there as long as the machine is.
const MachineFile = "machine.json"

const recordVersion = 1

// record is the content of a MachineFile.
type record struct {
	Version int `json:"version"`
	// Configuration is the hash of the configuration that the machine was made from.
	Configuration string          `json:"configuration"`
	State         drivers.State   `json:"state"`
	Machine       drivers.Machine `json:"machine"`
	Timeline      []drivers.Stage `json:"timeline,omitempty"`
	Processes     []keptProcess   `json:"processes,omitempty"`
	// Unfinished is the directory of a SaveState under way.
	Unfinished string `json:"unfinished,omitempty"`
}

// keptProcess is a process on record.
type keptProcess struct {
	ID        string               `json:"id"`
	Container string               `json:"container"`
	Init      bool                 `json:"init,omitempty"`
	Spec      drivers.ProcessSpec  `json:"spec"` // names of secrets and all
	State     drivers.ProcessState `json:"state"`
	Run       uint64               `json:"run,omitempty"`
	PID       int                  `json:"pid,omitempty"`
	StartedAt time.Time            `json:"startedAt,omitzero"`
	Exit      *drivers.ExitStatus  `json:"exit,omitempty"`
	// Output is, in a saved state, how much of it was in the log.
	Output *outputPosition `json:"output,omitempty"`
}

// outputPosition counts the bytes of each output stream since the start of a run.
type outputPosition struct {
	Stdout int64 `json:"stdout,omitempty"`
	Stderr int64 `json:"stderr,omitempty"`
}

// save puts the machine on record as it is now. The caller does not hold mu. A
// record that cannot be written costs the machine, should this process die.
func (s *sandbox) save() {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	rec, path := s.record(), s.recordPath
	s.mu.Unlock()
	if path == "" {
		return
	}
	if err := rec.write(path); err != nil {
		s.log.Warn("the machine is not on record", "error", err)
	}
}

// forget removes the record: there is no machine.
func (s *sandbox) forget() {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	path := s.recordPath
	s.recordPath = ""
	s.mu.Unlock()
	if path == "" {
		return
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("the record of a machine stays behind", "error", err)
	}
}

// record returns what is to be kept. The caller holds mu.
func (s *sandbox) record() record {
	rec := record{
		Version: recordVersion, Configuration: s.configuration,
		State: s.state, Timeline: s.timeline, Unfinished: s.unfinished,
	}
	if s.machine != nil {
		rec.Machine = *s.machine
	}
	for _, id := range s.order {
		p := s.processes[id]
		rec.Processes = append(rec.Processes, keptProcess{
			ID: p.id, Container: p.container, Init: p.init, Spec: p.spec, State: p.state,
			Run: p.run.number, PID: p.pid, StartedAt: p.startedAt, Exit: p.exit,
		})
	}
	return rec
}

// write replaces the file. It does not wait for the disk: the record is worth no
// more than the machine, which would not survive a power failure either.
func (r record) write(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, state.FileMode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readRecord returns the record of a bundle's machine. Without one that can be
// used the error is drivers.ErrNotFound.
func readRecord(bundle string) (record, error) {
	var r record
	if err := state.ReadJSON(filepath.Join(bundle, MachineFile), &r); err != nil {
		return record{}, fmt.Errorf("%w: %w", drivers.ErrNotFound, err)
	}
	if err := r.check(); err != nil {
		return record{}, fmt.Errorf("%w: %w", drivers.ErrNotFound, err)
	}
	return r, nil
}

// check says why a record means nothing.
func (r record) check() error {
	if r.Version != recordVersion {
		return fmt.Errorf("the record of the machine has version %d, this program knows %d", r.Version, recordVersion)
	}
	if len(r.Processes) > maxProcesses {
		return fmt.Errorf("%d processes are more than %d", len(r.Processes), maxProcesses)
	}
	seen := map[string]bool{}
	for _, p := range r.Processes {
		if err := checkID("process", p.ID); err != nil {
			return err
		}
		if seen[p.ID] {
			return fmt.Errorf("process %q is there twice", p.ID)
		}
		seen[p.ID] = true
		switch {
		case p.State == drivers.ProcessCreated, p.State == drivers.ProcessRunning:
		case p.State == drivers.ProcessExited && p.Exit != nil:
		default:
			return fmt.Errorf("process %q has no state", p.ID)
		}
	}
	return nil
}

// hashOf returns the hash of a configuration.
func hashOf(c drivers.Configuration) (string, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
