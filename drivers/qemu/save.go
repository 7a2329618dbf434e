package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	// settleTimeout bounds what QEMU has to do after a migration, or to give one up.
	settleTimeout = 10 * time.Second
	// fullSpeed is a bandwidth in bytes per second that nothing reaches: QEMU's
	// default spares a network.
	fullSpeed = 1 << 40
	// stateFD is the name that QEMU knows the file by.
	stateFD = "state"
)

// The states of a migration, which is how QEMU saves and restores.
const (
	migrationNone      = "none"
	migrationCompleted = "completed"
	migrationFailed    = "failed"
	migrationCancelled = "cancelled"
)

// migration is the answer of query-migrate.
type migration struct {
	Status string `json:"status"`
	Error  string `json:"error-desc"`
}

func (m migration) over() bool {
	switch m.Status {
	case "", migrationNone, migrationCompleted, migrationFailed, migrationCancelled:
		return true
	}
	return false
}

func (m migration) err() error {
	if m.Status == migrationCompleted {
		return nil
	}
	if m.Error == "" {
		return fmt.Errorf("qemu: it is %s", m.Status)
	}
	if strings.Contains(m.Error, "No space left on device") || strings.Contains(m.Error, "Disk quota exceeded") {
		return fmt.Errorf("qemu: %w: %s", drivers.ErrExhausted, m.Error)
	}
	return errors.New("qemu: " + m.Error)
}

var (
	_ linuxvm.Restorer = (*Hypervisor)(nil)
	_ linuxvm.Saver    = (*machine)(nil)
)

// CanSave reports that it can, on every host.
func (h *Hypervisor) CanSave() error { return nil }

// Save migrates the machine, whose CPUs stand still, to a file.
func (m *machine) Save(ctx context.Context, path string) error {
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, state.FileMode) //nolint:gosec // the caller names it
	if err != nil {
		return err
	}
	defer to.Close()
	if err := m.leaveMigrated(ctx); err != nil {
		return err
	}
	if err := m.prepareMigration(ctx, to); err != nil {
		return err
	}
	if err := m.qmp.Execute(ctx, "migrate", map[string]any{"uri": "fd:" + stateFD}, nil); err != nil {
		return m.noMigration(ctx, err)
	}
	if err := m.migrated(ctx); err != nil {
		return m.noMigration(ctx, err)
	}
	return m.untilRunState(ctx, func(state string) bool { return state == "postmigrate" })
}

// leaveMigrated takes back that the machine was migrated, which QEMU holds against
// another migration: its CPUs run for a moment.
func (m *machine) leaveMigrated(ctx context.Context) error {
	state, err := m.runState(ctx)
	if err != nil || state != "postmigrate" {
		return err
	}
	if err := m.Resume(ctx); err != nil {
		return err
	}
	return m.Pause(ctx)
}

// prepareMigration gives QEMU the file and has it tell how the migration gets on.
func (m *machine) prepareMigration(ctx context.Context, file *os.File) error {
	err := m.qmp.Execute(ctx, "migrate-set-capabilities", map[string]any{
		"capabilities": []any{map[string]any{"capability": "events", "state": true}},
	}, nil)
	if err == nil {
		err = m.qmp.Execute(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(fullSpeed)}, nil)
	}
	if err == nil {
		err = m.qmp.ExecuteWithFile(ctx, "getfd", map[string]any{"fdname": stateFD}, file)
	}
	return err
}

// migrated waits for the end of the migration under way.
func (m *machine) migrated(ctx context.Context) error {
	for {
		var is migration
		if err := m.qmp.Execute(ctx, "query-migrate", nil, &is); err != nil {
			return err
		}
		if is.over() {
			return is.err()
		}
		select {
		case <-m.migration:
		case <-m.process.gone():
			return errGone
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// noMigration makes sure that none is under way after one has failed with an error.
func (m *machine) noMigration(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var is migration
	err := m.qmp.Execute(ctx, "query-migrate", nil, &is)
	if err == nil && !is.over() {
		if err = m.qmp.Execute(ctx, "migrate_cancel", nil, nil); err == nil {
			err = m.endOfMigration(ctx)
		}
	}
	if err == nil {
		err = m.untilRunState(ctx, func(state string) bool { return state != "finish-migrate" })
	}
	if err != nil && !errors.Is(err, errGone) {
		return errors.Join(cause, fmt.Errorf("give it up: %w", err))
	}
	return cause
}

// endOfMigration is migrated, whatever the end.
func (m *machine) endOfMigration(ctx context.Context) error {
	err := m.migrated(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errGone) {
		return nil
	}
	return err
}

// runState returns what QEMU says the machine does.
func (m *machine) runState(ctx context.Context) (string, error) {
	var is struct {
		Status string `json:"status"`
	}
	err := m.qmp.Execute(ctx, "query-status", nil, &is)
	return is.Status, err
}

// untilRunState waits for a state that follows upon another within moments: QEMU
// tells of it in no event.
func (m *machine) untilRunState(ctx context.Context, ok func(string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		state, err := m.runState(ctx)
		if err != nil || ok(state) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("qemu is in state %q: %w", state, ctx.Err())
		}
	}
}

// Restore starts a machine that waits for what another was, and gives it that.
func (h *Hypervisor) Restore(ctx context.Context, cfg linuxvm.MachineConfig, was drivers.Machine, path string) (linuxvm.Machine, error) {
	from, err := os.Open(path) //nolint:gosec // the caller names it
	if err != nil {
		return nil, err
	}
	defer from.Close()
	p, err := h.plan(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for _, c := range []struct{ what, was, is string }{
		{"machine type", was.Type, p.typ},
		{"acceleration", was.Accelerator, p.choice.Accelerator},
		{"processor", was.CPU, h.host.cpu},
	} {
		if err := same(c.what, c.was, c.is); err != nil {
			return nil, err
		}
	}
	p.incoming = true
	m, err := h.launch(ctx, cfg, p)
	if err != nil {
		return nil, err
	}
	if err = same("hypervisor", was.Hypervisor, m.description.Hypervisor); err == nil {
		err = m.load(ctx, from)
	}
	if err != nil {
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		defer cancel()
		return nil, errors.Join(err, m.Kill(kill))
	}
	return m, nil
}

// same says that a machine cannot go on on something else.
func same(what, was, is string) error {
	if was == is {
		return nil
	}
	return fmt.Errorf("%w: it was saved on the %s %q, and here is %q", drivers.ErrInvalidArgument, what, was, is)
}

// load has QEMU take the state over. It ends if it cannot.
func (m *machine) load(ctx context.Context, from *os.File) error {
	err := m.prepareMigration(ctx, from)
	if err == nil {
		err = m.qmp.Execute(ctx, "migrate-incoming", map[string]any{"uri": "fd:" + stateFD}, nil)
	}
	if err == nil {
		err = m.migrated(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	// It has said why on its way out.
	gone := time.NewTimer(settleTimeout)
	defer gone.Stop()
	select {
	case <-m.process.gone():
		if text := m.process.failure(m.program); text != "" {
			err = errors.New(text)
		}
	case <-gone.C:
	case <-ctx.Done():
	}
	return fmt.Errorf("%w: the saved memory does not load: %w", drivers.ErrInvalidArgument, err)
}
