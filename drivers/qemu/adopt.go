package qemu

import (
	"context"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

// Adopt takes over a machine that a process started that is gone now. It lives
// on in its own process, whose sockets can be dialled anew.
func (h *Hypervisor) Adopt(ctx context.Context, cfg linuxvm.MachineConfig, was drivers.Machine) (linuxvm.Machine, error) {
	id := procfs.ID{PID: was.PID, StartTime: was.StartTime}
	process, err := adoptProcess(id)
	if err != nil {
		return nil, fmt.Errorf("take over the virtual machine process %d: %w", id.PID, err)
	}
	m := h.newMachine(cfg.ID, "qemu", adopted(id.PID, cfg.SocketDir, cfg.ID), cfg.Interfaces)
	m.process, m.description = process, was
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = m.control(ctx)
	if err == nil {
		// The process before may have been killed while it saved the machine.
		if err = m.noMigration(ctx, nil); err != nil {
			m.qmp.Close()
		}
	}
	if err == nil {
		if err = m.adoptShares(cfg.StateDir); err != nil {
			// It is of no use without, and would wait for its folder for ever.
			m.qmp.Close()
			process.kill()
			err = fmt.Errorf("%w: %w", drivers.ErrNotFound, err)
		}
	}
	if err != nil {
		process.release()
		return nil, fmt.Errorf("take over the virtual machine process %d: %w", id.PID, err)
	}
	// A guest whose console nobody reads is none the worse for it.
	if console, err := m.sockets.dial(ctx, consoleSocket); err == nil {
		go copyConsole(cfg.Console, console)
	} else {
		h.log.WarnContext(ctx, "the console of a virtual machine is lost", "id", cfg.ID, "error", err)
	}
	go m.watch()
	m.watchShares()
	go m.watchSpace()
	h.log.InfoContext(ctx, "took over a virtual machine", "id", cfg.ID, "pid", id.PID)
	return m, nil
}

// foreign is the process of a machine that another process started.
type foreign struct {
	id    procfs.ID
	ended <-chan struct{}
	// release ends the watching.
	release context.CancelFunc
}

func adoptProcess(id procfs.ID) (*foreign, error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended, err := id.Watch(ctx)
	if err == nil && !id.Alive() {
		err = fmt.Errorf("%w: it is gone", drivers.ErrNotFound)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &foreign{id: id, ended: ended, release: cancel}, nil
}

func (f *foreign) gone() <-chan struct{} { return f.ended }

func (f *foreign) kill() { _ = f.id.Kill() }

// failure cannot tell more: only a parent learns how its child ended.
func (f *foreign) failure(string) string { return "" }
