//go:build (darwin && cgo && arm64) || vzlookalike

package vz

import (
	"errors"
	"fmt"
	"os"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// canSave asks about the least configuration there can be, with a console.
func (v virtualization) canSave() error {
	if err := hostSaves(); err != nil {
		return err
	}
	config, err := v.least()
	if err != nil {
		return kindOf(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if err := addConsole(config, null, null); err != nil {
		return kindOf(err)
	}
	// It may say no without an error.
	ok, err := config.ValidateSaveRestoreSupport()
	if err == nil && !ok {
		err = errors.New("the Virtualization framework does not say why")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnsupported, err)
	}
	return nil
}

func (m *appleMachine) Save(path string) error { return kindOf(m.SaveMachineStateToPath(path)) }

func (m *appleMachine) Restore(path string) error { return kindOf(m.RestoreMachineStateFromURL(path)) }
