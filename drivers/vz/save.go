package vz

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

var (
	_ linuxvm.Restorer = (*Hypervisor)(nil)
	_ linuxvm.Saver    = (*machine)(nil)
)

// CanSave says why machines cannot be saved here: the framework knows, from macOS
// 14 on and on Apple silicon.
func (h *Hypervisor) CanSave() error {
	ctx, cancel := context.WithTimeout(context.Background(), h.patience.call)
	defer cancel()
	_, err := bounded(ctx, "ask whether machines can be saved", func() (struct{}, error) { return struct{}{}, h.framework.canSave() }, nil)
	return err
}

// savesFrom says whether a version of macOS, as "14.2.1", saves machines.
func savesFrom(version string) error {
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 14 {
		return fmt.Errorf("%w: it needs macOS 14 or newer, this is %q", drivers.ErrUnsupported, version)
	}
	return nil
}

// Save writes the machine, whose CPUs stand still, to a file. The framework does
// not break that off, and can do nothing else with the machine meanwhile: the end of
// ctx does not end it.
func (m *machine) Save(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.patience.save)
	defer cancel()
	if err := m.await(ctx, statePaused); err != nil {
		return err
	}
	_, err := until(ctx, m.exited, "save the virtual machine", func() (struct{}, error) { return struct{}{}, m.vm.Save(path) }, nil)
	if err != nil {
		return err
	}
	// In a directory that is the user's own, it has been private so far too.
	return os.Chmod(path, state.FileMode)
}

// Restore makes a machine that stands still where another was when it was saved.
// The framework wants it to be described as that was, down to its identifier.
func (h *Hypervisor) Restore(ctx context.Context, cfg linuxvm.MachineConfig, was drivers.Machine, path string) (linuxvm.Machine, error) {
	identifier, err := base64.StdEncoding.DecodeString(was.Identifier)
	if err != nil || len(identifier) == 0 || len(identifier) > maxIdentifier {
		return nil, fmt.Errorf("%w: it was saved without the machine's identifier", drivers.ErrInvalidArgument)
	}
	m, err := h.make(ctx, cfg, func() ([]byte, error) { return identifier, nil })
	if err != nil {
		return nil, err
	}
	if err := m.restore(ctx, path); err != nil {
		return nil, err
	}
	h.log.DebugContext(ctx, "restored a virtual machine", "id", cfg.ID)
	return m, nil
}

// restore returns when the machine stands still where another was, or leaves none
// behind.
func (m *machine) restore(ctx context.Context, path string) error {
	err := m.begin(ctx, "restore the virtual machine", m.patience.save, func() error { return m.vm.Restore(path) }, statePaused)
	if err == nil || gaveUp(err) {
		return err
	}
	return fmt.Errorf("%w: the saved memory does not load: %w", drivers.ErrInvalidArgument, err)
}
