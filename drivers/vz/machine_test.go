package vz

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

// scripted is a framework, and its one machine, that does what a test says.
type scripted struct {
	start, stop func(*scripted) error
	save        func(path string) error
	restore     func(path string) error
	saves       error
	made        Description
	connect     func() (net.Conn, error)
	states      chan machineState
	output      *os.File
}

func newScripted() *scripted {
	return &scripted{
		states: make(chan machineState, 16),
		start: func(s *scripted) error {
			s.states <- stateChanging
			s.states <- stateRunning
			return nil
		},
		stop: func(s *scripted) error {
			s.states <- stateStopped
			return nil
		},
	}
}

func (*scripted) probe() error                   { return nil }
func (*scripted) version() string                { return "scripted" }
func (*scripted) newIdentifier() ([]byte, error) { return []byte("id"), nil }

func (*scripted) limits() limits {
	return limits{minCPUs: 1, maxCPUs: 4, minMemoryBytes: 1 << 20, maxMemoryBytes: 1 << 40}
}

func (s *scripted) canSave() error            { return s.saves }
func (s *scripted) Save(path string) error    { return s.save(path) }
func (s *scripted) Restore(path string) error { return s.restore(path) }

func (s *scripted) newMachine(d Description, f files) (virtualMachine, error) {
	s.output, s.made = f.output, d
	return s, nil
}

func (s *scripted) Start() error                     { return s.start(s) }
func (s *scripted) Stop() error                      { return s.stop(s) }
func (s *scripted) Connect(uint32) (net.Conn, error) { return s.connect() }
func (s *scripted) Pause() error                     { s.states <- statePaused; return nil }
func (s *scripted) Resume() error                    { s.states <- stateRunning; return nil }

func (s *scripted) NextState(stop <-chan struct{}) (machineState, bool) {
	select {
	case st := <-s.states:
		return st, true
	case <-stop:
		return 0, false
	}
}

// ample is more than any call takes, and brief not enough for one that hangs.
const (
	ample = time.Minute
	brief = 10 * time.Millisecond
)

// startOn starts a machine on a framework whose calls may take their time.
func startOn(t *testing.T, s *scripted, console io.Writer) (linuxvm.Machine, error) {
	t.Helper()
	return on(s).Start(t.Context(), machineConfig(t, console))
}

func on(s *scripted) *Hypervisor {
	h := New(Options{})
	h.framework = s
	h.patience = patience{call: ample, save: ample, connect: ample, news: ample}
	return h
}

func machineConfig(t *testing.T, console io.Writer) linuxvm.MachineConfig {
	t.Helper()
	kernel := t.TempDir() + "/kernel"
	image := make([]byte, 64)
	copy(image[56:], "ARM\x64")
	if err := os.WriteFile(kernel, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return linuxvm.MachineConfig{
		ID: "default/web", CPUs: 1, MemoryBytes: 64 << 20, StateDir: t.TempDir(),
		Kernel: drivers.Kernel{Image: kernel}, Console: console,
	}
}

func mustStart(t *testing.T, s *scripted, console io.Writer) linuxvm.Machine {
	t.Helper()
	m, err := startOn(t, s, console)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func awaitExit(t *testing.T, m linuxvm.Machine) {
	t.Helper()
	select {
	case <-m.Exited():
	case <-time.After(time.Minute):
		t.Fatal("the machine has not exited")
	}
}

// syncBuffer is a console.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestPowerOffByTheGuestHasNoReason(t *testing.T) {
	s := newScripted()
	var console syncBuffer
	m := mustStart(t, s, &console)
	if d := m.Describe(); d.PID != os.Getpid() || d.Hypervisor != "scripted" || d.Accelerator != "hvf" {
		t.Errorf("description %+v", d)
	}
	if _, err := s.output.WriteString("last words\n"); err != nil {
		t.Fatal(err)
	}
	s.states <- stateChanging
	s.states <- stateStopped
	awaitExit(t, m)
	if m.ExitReason() != "" {
		t.Errorf("reason %q", m.ExitReason())
	}
	if console.String() != "last words\n" {
		t.Errorf("console %q when the end is told", console.String())
	}
	if _, err := m.DialAgent(t.Context()); !errors.Is(err, errGone) {
		t.Errorf("dial after the end: %v", err)
	}
}

func TestFailureOfTheFrameworkIsTheReason(t *testing.T) {
	s := newScripted()
	m := mustStart(t, s, nil)
	s.states <- stateFailed
	awaitExit(t, m)
	if !strings.Contains(m.ExitReason(), "internal error") {
		t.Errorf("reason %q", m.ExitReason())
	}
}

func TestKillWaitsForAStateThatCanBeStopped(t *testing.T) {
	s := newScripted()
	m := mustStart(t, s, nil)
	s.states <- stateChanging // pausing, by whomever
	killed := make(chan error, 1)
	go func() { killed <- m.Kill(t.Context()) }()
	s.states <- statePaused
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	awaitExit(t, m)
	if err := m.Kill(t.Context()); err != nil || m.ExitReason() != "" {
		t.Errorf("killed again: %v, reason %q", err, m.ExitReason())
	}
}

func TestStopThatComesTooLateIsNoError(t *testing.T) {
	s := newScripted()
	s.stop = func(s *scripted) error {
		s.states <- stateStopped // by itself
		return errors.New("invalid state transition")
	}
	m := mustStart(t, s, nil)
	if err := m.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	awaitExit(t, m)
}

func TestCallThatNeverReturnsIsGivenUp(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })

	t.Run("connect", func(t *testing.T) {
		s := newScripted()
		late, closed := net.Pipe()
		answer := make(chan struct{})
		s.connect = func() (net.Conn, error) { <-answer; return late, nil }
		m := mustStart(t, s, nil)
		m.(*machine).patience.connect = brief
		if _, err := m.DialAgent(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v", err)
		}
		close(answer)
		if _, err := closed.Read(make([]byte, 1)); err == nil {
			t.Error("a connection that came too late is left open")
		}
		if err := m.Kill(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("stop", func(t *testing.T) {
		s := newScripted()
		s.stop = func(*scripted) error { <-hang; return nil }
		m := mustStart(t, s, nil)
		m.(*machine).patience.call = brief
		if err := m.Kill(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("kill: %v", err)
		}
		s.states <- stateStopped
		awaitExit(t, m)
	})
	t.Run("start", func(t *testing.T) {
		s := newScripted()
		s.start = func(*scripted) error { <-hang; return nil }
		j, err := join(Description{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(s, j, patience{call: brief})
		if err := m.start(t.Context()); err == nil || !strings.Contains(err.Error(), "it may still run") {
			t.Errorf("start: %v", err)
		}
		s.states <- stateRunning // after all
		s.states <- stateStopped
		awaitExit(t, m)
	})
}

func TestMachineThatDoesNotStartIsAnError(t *testing.T) {
	for name, states := range map[string][]machineState{
		"refused": nil,
		"failed":  {stateChanging, stateFailed},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted()
			s.start = func(s *scripted) error {
				for _, st := range states {
					s.states <- st
				}
				return errors.New("no memory")
			}
			if _, err := startOn(t, s, nil); err == nil || !strings.Contains(err.Error(), "no memory") {
				t.Errorf("start: %v", err)
			}
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	s := newScripted()
	m := mustStart(t, s, nil)
	if err := errors.Join(m.Pause(t.Context()), m.Resume(t.Context())); err != nil {
		t.Error(err)
	}
	if err := m.Kill(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNothingIsAdopted(t *testing.T) {
	if _, err := New(Options{}).Adopt(t.Context(), linuxvm.MachineConfig{}, drivers.Machine{PID: os.Getpid()}); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("adopt: %v", err)
	}
}

func TestProbeSaysWhyThereIsNoFramework(t *testing.T) {
	err := (&Hypervisor{framework: theFramework(), patience: defaultPatience()}).Probe(t.Context())
	if err != nil && !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("probe: %v", err)
	}
}
