package qemu_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
)

// severable is a hypervisor whose connections to agents can be cut.
type severable struct {
	linuxvm.Hypervisor

	mu    sync.Mutex
	conns []net.Conn
}

func (h *severable) Start(ctx context.Context, cfg linuxvm.MachineConfig) (linuxvm.Machine, error) {
	m, err := h.Hypervisor.Start(ctx, cfg)
	return severableMachine{m, h}, err
}

// sever cuts the newest.
func (h *severable) sever() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[len(h.conns)-1].Close()
}

type severableMachine struct {
	linuxvm.Machine

	h *severable
}

func (m severableMachine) DialAgent(ctx context.Context) (net.Conn, error) {
	conn, err := m.Machine.DialAgent(ctx)
	if err == nil {
		m.h.mu.Lock()
		m.h.conns = append(m.h.conns, conn)
		m.h.mu.Unlock()
	}
	return conn, err
}

func TestLostConnectionToTheAgentIsMadeAnew(t *testing.T) {
	const lines = 3000
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; read x; echo got $x; exit 5", lines)
	dir := getWorld(t).bundle(t, "default/web", script, func(c *drivers.Configuration) {
		c.Containers[0].Process.Stdin = true
	})
	h := &severable{Hypervisor: qemu.New(qemu.Options{})}
	rt := bootOn(t, h, dir)
	for range 3 {
		// Amid the output, and with nothing under way.
		h.sever()
		untilReached(t, rt, dir, lines)
	}
	input, typing := net.Pipe()
	go func() {
		_, _ = typing.Write([]byte("typed\n"))
		<-t.Context().Done()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if exit, err := rt.Attach(ctx, "web", drivers.Stdio{Stdin: input}); err != nil || exit.Code != 5 {
		t.Errorf("exit %+v, %v, want the script's 5", exit, err)
	}
	var want []string
	for i := range lines {
		want = append(want, "line "+strconv.Itoa(i))
	}
	want = append(want, "got typed")
	if got := logged(t, dir); !slices.Equal(got, want) {
		t.Errorf("the log has %d lines, want %d; it ends with %q", len(got), len(want), got[max(0, len(got)-3):])
	}
}

// untilReached waits until the agent is, and the log has so many lines.
func untilReached(t *testing.T, rt drivers.Runtime, dir string, lines int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		// What is under way when the connection is cut fails with it.
		_, err := rt.Exec(ctx, "web", drivers.ProcessSpec{Args: []string{"/bin/true"}}, drivers.Stdio{})
		if err == nil && len(logged(t, dir)) >= lines {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the agent is not reached, or the output has no end: %v; %+v", err, snapshot(t, rt))
		}
	}
}
