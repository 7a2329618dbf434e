package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

// saved returns the path of a file that was saved to.
func saved(t *testing.T) string {
	t.Helper()
	path := unsaved(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func unsaved(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "memory")
}

// started returns a machine in which the fake plays a role.
func started(t *testing.T, role string) (h *Hypervisor, cfg linuxvm.MachineConfig, m *machine) {
	t.Helper()
	h, cfg = fake(t, role)
	mach, err := h.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
		defer cancel()
		if err := mach.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
	return h, cfg, mach.(*machine)
}

func TestMachineCanBeSavedAgainAndAgain(t *testing.T) {
	_, _, m := started(t, "silent")
	for range 2 {
		if err := m.Save(t.Context(), unsaved(t)); err != nil {
			t.Fatal(err)
		}
		if state, err := m.runState(t.Context()); err != nil || state != "postmigrate" {
			t.Errorf("state %q, %v", state, err)
		}
	}
}

func TestSaveThatFailsSaysWhyAndIsUnderWayNoMore(t *testing.T) {
	for role, want := range map[string]error{"full": drivers.ErrExhausted, "stuck": context.DeadlineExceeded} {
		t.Run(role, func(t *testing.T) {
			_, _, m := started(t, role)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := m.Save(ctx, unsaved(t)); !errors.Is(err, want) {
				t.Errorf("error %v, want %v", err, want)
			}
			var is migration
			if err := m.qmp.Execute(t.Context(), "query-migrate", nil, &is); err != nil || !is.over() {
				t.Errorf("the migration is %+v, %v", is, err)
			}
		})
	}
}

func TestStateOfAnotherMachineIsNotRestored(t *testing.T) {
	h, cfg, m := started(t, "silent")
	h.host.cpu = "this"
	for name, tc := range map[string]struct {
		change func(*drivers.Machine)
		want   string
	}{
		"version":      {func(m *drivers.Machine) { m.Hypervisor = "qemu 7.2.22" }, `hypervisor "qemu 7.2.22", and here is "qemu 9.1.2"`},
		"machine type": {func(m *drivers.Machine) { m.Type = "virt" }, `machine type "virt", and here is "q35"`},
		"acceleration": {func(m *drivers.Machine) { m.Accelerator = "kvm" }, `acceleration "kvm", and here is "tcg"`},
		"processor":    {func(m *drivers.Machine) { m.CPU = "that" }, `processor "that", and here is "this"`},
	} {
		t.Run(name, func(t *testing.T) {
			was := m.Describe()
			was.CPU = "this"
			tc.change(&was)
			_, err := h.Restore(t.Context(), another(cfg), was, saved(t))
			if !errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %s", err, tc.want)
			}
		})
	}
}

// another is the configuration of a machine beside the first.
func another(cfg linuxvm.MachineConfig) linuxvm.MachineConfig {
	cfg.ID += "2"
	return cfg
}

func TestStateThatDoesNotLoadLeavesNoMachine(t *testing.T) {
	h, cfg := fake(t, "unfit")
	was := drivers.Machine{Hypervisor: "qemu 9.1.2", Type: "q35", Accelerator: "tcg"}
	_, err := h.Restore(t.Context(), cfg, was, saved(t))
	if !errors.Is(err, drivers.ErrInvalidArgument) || !strings.HasSuffix(err.Error(), "load of migration failed: Invalid argument") {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(cfg.SocketDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
