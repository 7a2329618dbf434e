package qemu

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu/qmp"
)

// errGone is the error of calls to a machine that has ended.
var errGone = errors.New("the virtual machine is gone")

// machine is one running QEMU.
type machine struct {
	program     string
	process     process
	qmp         *qmp.Client
	sockets     *sockets
	description drivers.Machine
	interfaces  []linuxvm.Interface

	log *slog.Logger
	// space is that of patience; noSpace holds a token when a write has found none.
	space   time.Duration
	noSpace chan struct{}
	// shares are the folders that it has of the host's.
	shares []*share

	mu       sync.Mutex
	killed   bool   // Kill was called
	lost     string // why it was ended, when it could not go on
	shutdown string // the reason in QEMU's SHUTDOWN event
	reason   string // why it ended; set before exited is closed

	exited chan struct{}
	// migration holds a token when a migration has got on.
	migration chan struct{}
}

func (h *Hypervisor) newMachine(id, program string, s *sockets, interfaces []linuxvm.Interface) *machine {
	return &machine{
		program: program, sockets: s, interfaces: interfaces, log: h.log.With("id", id), space: h.patience.space,
		noSpace: make(chan struct{}, 1), exited: make(chan struct{}), migration: make(chan struct{}, 1),
	}
}

// watch waits for the end of the process and tells it to all.
func (m *machine) watch() {
	<-m.process.gone()
	// The last event, which says why, may still be on its way.
	select {
	case <-m.qmp.Done():
	case <-time.After(time.Second):
	}
	m.qmp.Close()
	m.sockets.release()
	for _, i := range m.interfaces {
		_ = os.Remove(i.Socket)
	}

	m.mu.Lock()
	if !m.killed {
		failure := m.process.failure(m.program)
		if _, ok := m.process.(*foreign); ok && m.shutdown == "" {
			failure = "the virtual machine process ended"
		}
		m.reason = cmp.Or(m.lost, exitReason(failure, m.shutdown))
	}
	m.mu.Unlock()
	close(m.exited)
}

// exitReason says in words why a machine that nobody killed has ended; it is
// empty when the guest powered off.
func exitReason(failure, shutdown string) string {
	switch {
	case failure != "":
		return failure
	case shutdown == "guest-reset" || shutdown == "guest-panic":
		return "the guest's kernel panicked or restarted itself: the end of its console log tells why"
	case shutdown == "host-signal":
		return "the virtual machine process was ended by a signal from this host"
	default:
		return ""
	}
}

// event is called for each event of QEMU's.
func (m *machine) event(e qmp.Event) {
	switch e.Name {
	case "MIGRATION":
		select {
		case m.migration <- struct{}{}:
		default:
		}
		return
	case "BLOCK_IO_ERROR":
		m.blockError(e.Data)
		return
	case "SHUTDOWN":
	default:
		return
	}
	var data struct {
		Reason string `json:"reason"`
	}
	// Without a reason, the process's exit has to do.
	_ = json.Unmarshal(e.Data, &data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shutdown = data.Reason
}

// DialAgent connects to the agent's port. QEMU serves one connection at a time.
func (m *machine) DialAgent(ctx context.Context) (net.Conn, error) {
	select {
	case <-m.exited:
		return nil, errGone
	default:
	}
	return m.sockets.dial(ctx, agentSocket)
}

// Pause stops the CPUs.
func (m *machine) Pause(ctx context.Context) error {
	return m.qmp.Execute(ctx, "stop", nil, nil)
}

// Resume lets the CPUs run again.
func (m *machine) Resume(ctx context.Context) error {
	return m.qmp.Execute(ctx, "cont", nil, nil)
}

// Kill ends the process and waits until it is gone. What the guest has written
// out stays written: it is in the host's page cache.
func (m *machine) Kill(ctx context.Context) error {
	select {
	case <-m.exited:
		return nil
	default:
	}
	m.mu.Lock()
	m.killed = true
	m.mu.Unlock()
	m.process.kill()
	select {
	case <-m.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Exited is closed when the process is gone and its socket removed.
func (m *machine) Exited() <-chan struct{} { return m.exited }

// ExitReason says why, once Exited is closed.
func (m *machine) ExitReason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason
}

// Describe tells what the machine runs on.
func (m *machine) Describe() drivers.Machine { return m.description }
