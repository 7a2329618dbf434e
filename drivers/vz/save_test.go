package vz

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestMachineGoesOnWithTheIdentifierItWasSavedWith(t *testing.T) {
	s := newScripted()
	s.save = func(path string) error {
		s.states <- stateChanging
		s.states <- statePaused
		return os.WriteFile(path, []byte("memory"), 0o644)
	}
	m := mustStart(t, s, nil)
	path := filepath.Join(t.TempDir(), "memory")
	if err := errors.Join(m.Pause(t.Context()), m.(*machine).Save(t.Context(), path)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what was saved: %v, %v, want it private", info, err)
	}
	was := m.Describe()
	if err := m.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}

	again := newScripted()
	again.restore = func(from string) error {
		if from != path {
			t.Errorf("restored from %s", from)
		}
		again.states <- stateChanging
		again.states <- statePaused
		return nil
	}
	// In a directory of its own, where it would get an identifier of its own.
	r, err := on(again).Restore(t.Context(), machineConfig(t, nil), was, path)
	if err != nil {
		t.Fatal(err)
	}
	if string(again.made.MachineIdentifier) != "id" || r.Describe().Identifier != was.Identifier {
		t.Errorf("identifier %q, it was %q", again.made.MachineIdentifier, was.Identifier)
	}
	if err := errors.Join(r.Resume(t.Context()), r.Kill(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestStateThatDoesNotLoadLeavesNoMachine(t *testing.T) {
	was := drivers.Machine{Identifier: "aWQ="}
	for name, states := range map[string][]machineState{
		"refused":     nil,
		"after a try": {stateChanging, stateStopped},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted()
			s.restore = func(string) error {
				for _, st := range states {
					s.states <- st
				}
				return errors.New("the configuration is another")
			}
			_, err := on(s).Restore(t.Context(), machineConfig(t, nil), was, "/saved")
			if !errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), "the configuration is another") {
				t.Errorf("restore: %v", err)
			}
		})
	}
	t.Run("without an identifier", func(t *testing.T) {
		_, err := on(newScripted()).Restore(t.Context(), machineConfig(t, nil), drivers.Machine{}, "/saved")
		if !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("restore: %v", err)
		}
	})
}

// The framework goes on writing, and a machine that is being saved does nothing else.
func TestSaveThatIsUnderWayIsWaitedFor(t *testing.T) {
	s := newScripted()
	ctx, cancel := context.WithCancel(t.Context())
	s.save = func(path string) error {
		cancel()
		return os.WriteFile(path, nil, 0o600)
	}
	m := mustStart(t, s, nil)
	path := filepath.Join(t.TempDir(), "memory")
	if err := errors.Join(m.Pause(t.Context()), m.(*machine).Save(ctx, path)); err != nil {
		t.Errorf("save: %v", err)
	}
	if err := m.(*machine).Save(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("save that nobody wants any more: %v", err)
	}
	if err := m.Kill(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhetherMachinesCanBeSaved(t *testing.T) {
	s := newScripted()
	if err := on(s).CanSave(); err != nil {
		t.Error(err)
	}
	s.saves = drivers.ErrUnsupported
	if err := on(s).CanSave(); !errors.Is(err, drivers.ErrUnsupported) {
		t.Error(err)
	}
	for version, ok := range map[string]bool{"13.7": false, "14.0": true, "15.1.1": true, "26": true, "": false, "x": false} {
		if err := savesFrom(version); ok != (err == nil) || (err != nil && !errors.Is(err, drivers.ErrUnsupported)) {
			t.Errorf("macOS %q: %v", version, err)
		}
	}
}
