package qemu

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu/qmp"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
)

// startTimeout bounds the time from the start of the process to its answer over
// QMP; a busy host may need most of it.
const startTimeout = 60 * time.Second

// plan is what a machine is to be, apart from its configuration.
type plan struct {
	binary, typ string
	choice      verdict
	// mortal machines die with this process, where the system can see to that.
	mortal bool
	// incoming ones wait for a saved state.
	incoming bool
}

// launch starts the process and returns when the CPUs run, or, if it is incoming,
// when it waits.
func (h *Hypervisor) launch(ctx context.Context, cfg linuxvm.MachineConfig, p plan) (_ *machine, err error) {
	sockets, err := listenAll(cfg.SocketDir, cfg.ID)
	if err != nil {
		return nil, err
	}
	defer sockets.closeFiles()
	m := h.newMachine(cfg.ID, filepath.Base(p.binary), sockets, cfg.Interfaces)
	defer func() {
		if err != nil {
			sockets.release()
		}
	}()
	// Waiting to be accepted from the first: nothing that is printed is missed.
	console, err := sockets.dial(ctx, consoleSocket)
	if err != nil {
		return nil, err
	}
	m.shares, err = startShares(cfg)
	if err != nil {
		console.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			endShares(m.shares)
		}
	}()
	spec := newSpec(cfg, h.host.os, p.typ, p.choice.Accelerator, firmware(p.binary, p.typ))
	spec.Incoming = p.incoming
	files := slices.Clone(sockets.files)
	for i, s := range m.shares {
		spec.Shares = append(spec.Shares, Share{Tag: s.tag, FD: MonitorFD + len(sockets.files) + i})
		files = append(files, s.conn)
	}
	child, err := startChild(p.binary, Args(spec), files, sysProcAttr(p.mortal))
	for _, s := range m.shares {
		s.connected()
	}
	if err != nil {
		console.Close()
		return nil, err
	}
	m.process = child
	go copyConsole(cfg.Console, console)
	// So that a connection ends, or is refused, when the child has.
	sockets.closeFiles()
	id, idErr := procfs.Lookup(child.cmd.Process.Pid)

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := m.control(ctx); err != nil {
		return nil, m.abandon(ctx, err)
	}
	if idErr != nil {
		m.qmp.Close()
		return nil, m.abandon(ctx, idErr)
	}
	m.description = drivers.Machine{
		Hypervisor:        "qemu " + m.qmp.Version().String(),
		Type:              p.typ,
		Accelerator:       p.choice.Accelerator,
		AcceleratorReason: p.choice.Reason,
		CPU:               h.host.cpu,
		PID:               id.PID,
		StartTime:         id.StartTime,
	}
	if err := m.keepShares(cfg.StateDir); err != nil {
		m.qmp.Close()
		return nil, m.abandon(ctx, err)
	}
	go m.watch()
	m.watchShares()
	go m.watchSpace()
	h.log.DebugContext(ctx, "started a virtual machine", "id", cfg.ID, "pid", id.PID, "accelerator", p.choice.String())
	return m, nil
}

// control connects to QEMU's monitor.
func (m *machine) control(ctx context.Context) error {
	conn, err := m.sockets.dial(ctx, monitorSocket)
	if err != nil {
		return err
	}
	// An end of the process that comes first ends the wait for its greeting.
	answered := make(chan struct{})
	defer close(answered)
	go func() {
		select {
		case <-m.process.gone():
			conn.Close()
		case <-answered:
		}
	}()
	m.qmp, err = qmp.Connect(ctx, conn, m.event)
	return err
}

// abandon ends a process that did not become a machine and tells why.
func (m *machine) abandon(ctx context.Context, cause error) error {
	// A process that ended by itself has said why; it may take a moment to go.
	var text string
	select {
	case <-m.process.gone():
		text = m.process.failure(m.program)
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	m.process.kill()
	select {
	case <-m.process.gone():
	case <-time.After(killTimeout): // stuck in the host's kernel: it goes when that lets go
	}
	if text != "" {
		return describeStartError(text)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("start %s: it did not answer in time: %w", m.program, cause)
	}
	return fmt.Errorf("start %s: %w", m.program, cause)
}
