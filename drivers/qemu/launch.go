package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu/qmp"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// startTimeout bounds the time from the start of the process to its answer over
// QMP; a busy host may need most of it.
const startTimeout = 60 * time.Second

// maxSocketPath is the longest name of a Unix socket: 108 bytes on Linux, 104 on
// macOS, with the zero at the end.
const maxSocketPath = 103

// launch starts the process and returns when the CPUs run.
func (h *Hypervisor) launch(ctx context.Context, binary string, cfg linuxvm.MachineConfig, typ string, choice verdict) (_ *machine, err error) {
	m := &machine{program: filepath.Base(binary), exited: make(chan struct{})}
	agent, addr, err := listen(filepath.Join(cfg.SocketDir, socketName(cfg.ID)))
	if err != nil {
		return nil, err
	}
	m.agent = addr
	defer agent.Close()
	defer func() {
		if err != nil {
			_ = addr.release()
		}
	}()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()

	spec := newSpec(cfg, h.host.os, typ, choice.Accelerator, firmware(binary, typ))
	m.process, err = startProcess(binary, Args(spec), []*os.File{theirs, agent}, cfg.Console)
	if err != nil {
		ours.Close()
		return nil, err
	}
	theirs.Close() // so that the connection ends when the child does
	id, idErr := procfs.Lookup(m.process.cmd.Process.Pid)

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	m.qmp, err = qmp.Connect(ctx, ours, m.event)
	if err != nil {
		return nil, m.abandon(ctx, err)
	}
	if idErr != nil {
		m.qmp.Close()
		return nil, m.abandon(ctx, idErr)
	}
	m.description = drivers.Machine{
		Hypervisor:        "qemu " + m.qmp.Version().String(),
		Type:              typ,
		Accelerator:       choice.Accelerator,
		AcceleratorReason: choice.Reason,
		PID:               id.PID,
		StartTime:         id.StartTime,
	}
	go m.watch()
	h.log.DebugContext(ctx, "started a virtual machine", "id", cfg.ID, "pid", id.PID, "accelerator", choice.String())
	return m, nil
}

// abandon ends a process that did not become a machine and tells why.
func (m *machine) abandon(ctx context.Context, cause error) error {
	// A process that ended by itself has said why; it may take a moment to go.
	var text string
	select {
	case <-m.process.exited:
		text = m.process.failure(m.program)
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	m.process.kill()
	select {
	case <-m.process.exited:
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

// address is where this process dials a socket, until it is released.
type address struct {
	path    string
	release func() error
}

// socketName is the same for each start of one sandbox, so that what a crash
// left behind, where a socket cannot be hidden, is replaced by the next start.
func socketName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "vm-" + hex.EncodeToString(sum[:6]) + ".sock"
}

// listen makes the socket that QEMU serves the agent's port on. It is there
// before QEMU is, so that whoever dials has nothing to poll for.
func listen(path string) (*os.File, *address, error) {
	if len(path) > maxSocketPath {
		return nil, nil, fmt.Errorf("socket %s: %w: the path has %d bytes, the system allows %d: use a shorter socket directory",
			path, drivers.ErrInvalidArgument, len(path), maxSocketPath)
	}
	if err := state.MkdirOwn(filepath.Dir(path)); err != nil {
		return nil, nil, fmt.Errorf("make the socket directory: %w: %w", drivers.ErrUnavailable, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("remove a stale socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(path, state.FileMode); err != nil {
		return nil, nil, err
	}
	f, err := l.File()
	if err != nil {
		return nil, nil, err
	}
	addr, err := hide(path)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, addr, nil
}

// socketPair returns the two ends of a connection, one of them for a child.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "qmp")
	f := os.NewFile(uintptr(fds[0]), "qmp")
	defer f.Close() // FileConn has its own duplicate
	ours, err = net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return ours, theirs, nil
}
