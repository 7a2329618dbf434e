package linuxvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm/disk"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// fakeHypervisor makes machines whose guest is an agent in this process. Its
// fields are faults, set before use.
type fakeHypervisor struct {
	startErr error
	deaf     int // how many of the first machines have an agent that never answers
	dieEarly bool
	// slowKill, if not nil, is closed when machines may end that are killed.
	slowKill chan struct{}
	agent    fakeAgent

	mu       sync.Mutex
	machines []*fakeMachine
	configs  []MachineConfig
}

func (h *fakeHypervisor) Name() string                       { return "fake" }
func (h *fakeHypervisor) Probe(context.Context) error        { return nil }
func (h *fakeHypervisor) RequiredModules() []string          { return nil }
func (h *fakeHypervisor) RuntimeDataSchema() json.RawMessage { return nil }

func (h *fakeHypervisor) Start(_ context.Context, cfg MachineConfig) (Machine, error) {
	if h.startErr != nil {
		return nil, h.startErr
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m := &fakeMachine{exited: make(chan struct{}), deaf: len(h.machines) < h.deaf, slowKill: h.slowKill, agent: &h.agent}
	m.agent.init(m)
	h.machines = append(h.machines, m)
	h.configs = append(h.configs, cfg)
	_, _ = cfg.Console.Write([]byte("Linux version 6\nKernel panic - not syncing\x1b[0m\n"))
	if h.dieEarly {
		m.die("qemu: could not open disk image")
	}
	return m, nil
}

// Adopt finds the newest machine, if it still runs.
func (h *fakeHypervisor) Adopt(_ context.Context, cfg MachineConfig, was drivers.Machine) (Machine, error) {
	if h.count() == 0 || was.Hypervisor == "" {
		return nil, drivers.ErrNotFound
	}
	m := h.last()
	select {
	case <-m.exited:
		return nil, drivers.ErrNotFound
	default:
	}
	_, _ = cfg.Console.Write([]byte("taken over\n"))
	return m, nil
}

// last returns the newest machine.
func (h *fakeHypervisor) last() *fakeMachine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.machines[len(h.machines)-1]
}

func (h *fakeHypervisor) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.machines)
}

type fakeMachine struct {
	slowKill chan struct{}
	agent    *fakeAgent

	mu     sync.Mutex
	deaf   bool // nobody answers who connects
	dials  int
	conns  []net.Conn
	reason string
	paused bool
	killed bool
	once   sync.Once
	exited chan struct{}
}

func (m *fakeMachine) DialAgent(context.Context) (net.Conn, error) {
	select {
	case <-m.exited:
		return nil, errors.New("gone")
	default:
	}
	ours, theirs := net.Pipe()
	m.mu.Lock()
	m.conns = append(m.conns, ours, theirs)
	m.dials++
	deaf := m.deaf
	m.mu.Unlock()
	if !deaf {
		go m.agent.serve(theirs)
	}
	return ours, nil
}

func (m *fakeMachine) Pause(context.Context) error  { m.setPaused(true); return nil }
func (m *fakeMachine) Resume(context.Context) error { m.setPaused(false); return nil }
func (m *fakeMachine) setPaused(p bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = p
}

func (m *fakeMachine) Kill(context.Context) error {
	m.mu.Lock()
	m.killed = true
	m.mu.Unlock()
	if m.slowKill != nil {
		<-m.slowKill
	}
	m.die("")
	return nil
}

// hangUp breaks the connection to the agent; a deaf one takes no other.
func (m *fakeMachine) hangUp(deaf bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deaf = deaf
	for _, c := range m.conns {
		c.Close()
	}
	m.conns = nil
}

// die ends the machine and all that it serves.
func (m *fakeMachine) die(reason string) {
	m.once.Do(func() {
		m.mu.Lock()
		m.reason = reason
		conns := m.conns
		m.mu.Unlock()
		close(m.exited)
		for _, c := range conns {
			c.Close()
		}
	})
}

func (m *fakeMachine) Exited() <-chan struct{} { return m.exited }
func (m *fakeMachine) ExitReason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason
}

func (m *fakeMachine) Describe() drivers.Machine {
	return drivers.Machine{Hypervisor: "fake 1", Accelerator: "none"}
}

// fakeAgent runs "processes": the first argument says how they behave.
//
//	sleep     runs until a signal
//	stubborn  runs until SIGKILL
//	echo X    prints X and exits with 0
//	flood     prints at its first signal twice what an attached client may be behind, then sleeps
//	greet X   prints X at its first signal and exits with 0
//	fail      cannot be started
type fakeAgent struct {
	agentpb.UnimplementedAgentServer
	// Faults: calls that never return.
	hangConfigure, hangSignal, hangShutdown bool
	failCreate, failSetTime                 error
	// startOnce loses the connection amid the start of a process.
	startOnce bool
	disk      fakeDisk

	mu        sync.Mutex
	machine   *fakeMachine
	configure *agentpb.ConfigureRequest
	created   []*agentpb.CreateContainerRequest
	started   []*agentpb.RunStart
	signals   map[string]chan int32
	sessions  map[string]*fakeSession
	runs      uint64 // of this machine
	boot      string
	setTimes  int
	seed      []byte // the latest
}

func (a *fakeAgent) init(m *fakeMachine) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.machine = m
	a.signals = map[string]chan int32{}
	a.sessions, a.runs, a.boot = map[string]*fakeSession{}, 0, fmt.Sprintf("%p", m)
}

// hello is what the fake agent says first; gRPC follows without more ado. The
// real channel has tests of its own, and its multiplexer shares timers between
// sessions, which virtual time forbids.
const hello = "hello"

func (a *fakeAgent) serve(conn net.Conn) {
	if _, err := conn.Write([]byte(hello)); err != nil {
		return
	}
	srv := grpc.NewServer()
	agentpb.RegisterAgentServer(srv, a)
	l := &oneListener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- conn
	go func() {
		<-a.exited()
		srv.Stop()
	}()
	_ = srv.Serve(l)
}

func (a *fakeAgent) exited() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.machine.exited
}

// connectFake is the connectFunc for fake agents.
func connectFake(ctx context.Context, dial func(context.Context) (net.Conn, error)) (*link, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.ReadFull(conn, make([]byte, len(hello))); err != nil {
		return nil, err
	}
	watched := &watchedConn{Conn: conn, done: make(chan struct{})}
	cc, err := grpc.NewClient("passthrough:///fake",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return watched, nil }))
	if err != nil {
		return nil, err
	}
	return &link{conn: cc, done: watched.done, close: cc.Close}, nil
}

// watchedConn tells when it can no longer be read.
type watchedConn struct {
	net.Conn
	once sync.Once
	done chan struct{}
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.once.Do(func() { close(c.done) })
	}
	return n, err
}

// oneListener accepts one connection.
type oneListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *oneListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

func (a *fakeAgent) Info(context.Context, *agentpb.InfoRequest) (*agentpb.InfoResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &agentpb.InfoResponse{KernelVersion: "6.1\x00-fake", BootId: a.boot + strings.Repeat("b", 1000)}, nil
}

func (a *fakeAgent) Configure(ctx context.Context, req *agentpb.ConfigureRequest) (*agentpb.ConfigureResponse, error) {
	if a.hangConfigure {
		<-ctx.Done()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.configure = req
	return &agentpb.ConfigureResponse{}, nil
}

func (a *fakeAgent) CreateContainer(_ context.Context, req *agentpb.CreateContainerRequest) (*agentpb.CreateContainerResponse, error) {
	if a.failCreate != nil {
		return nil, a.failCreate
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.created = append(a.created, req)
	return &agentpb.CreateContainerResponse{}, nil
}

func (a *fakeAgent) Run(stream agentpb.Agent_RunServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	signals, err := a.start(first.GetStart())
	if err != nil {
		return err
	}
	send := func(out *wire.Output) { _ = stream.Send(out) }
	send(&wire.Output{Kind: &wire.Output_Started{Started: &wire.Started{Pid: 42, StartedAt: timestamppb.Now()}}})
	behave(stream.Context(), first.GetStart().GetSpec().GetArgs(), signals, send)
	return stream.Context().Err()
}

// start notes a process and returns the signals that it will get.
func (a *fakeAgent) start(start *agentpb.RunStart) (chan int32, error) {
	signals := make(chan int32, 4)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = append(a.started, start)
	a.signals[start.GetId()] = signals
	if start.GetSpec().GetArgs()[0] == "fail" {
		return nil, status.Error(codes.NotFound, "exec: fail: no such file")
	}
	return signals, nil
}

// fakeSession is a process that outlives the connection.
type fakeSession struct {
	run  uint64
	args []string

	mu     sync.Mutex
	wake   *sync.Cond
	output []*wire.Output
}

func (a *fakeAgent) Start(_ context.Context, start *agentpb.RunStart) (*agentpb.StartResponse, error) {
	if a.startOnce {
		// The host does not learn that it was started.
		a.mu.Lock()
		s, m := a.sessions[start.GetId()], a.machine
		a.mu.Unlock()
		if s != nil {
			return &agentpb.StartResponse{Run: s.run, Pid: 42}, nil
		}
		defer m.hangUp(false)
	}
	signals, err := a.start(start)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs++
	a.sessions[start.GetId()] = newFakeSession(a.machine, &fakeSession{run: a.runs, args: start.GetSpec().GetArgs()}, signals)
	return &agentpb.StartResponse{Run: a.runs, Pid: 42}, nil
}

// newFakeSession runs a process until it ends, or its machine.
func newFakeSession(m *fakeMachine, s *fakeSession, signals chan int32) *fakeSession {
	s.wake = sync.NewCond(&s.mu)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-m.exited
		cancel()
	}()
	go behave(ctx, s.args, signals, func(out *wire.Output) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.output = append(s.output, out)
		s.wake.Broadcast()
	})
	return s
}

// Follow sends all output that lies behind the position, of which the fake tells
// whole pieces only.
func (a *fakeAgent) Follow(stream agentpb.Agent_FollowServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	a.mu.Lock()
	s := a.sessions[start.GetId()]
	a.mu.Unlock()
	if s == nil || s.run != start.GetRun() {
		return status.Error(codes.NotFound, "no such process")
	}
	stop := context.AfterFunc(stream.Context(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wake.Broadcast()
	})
	defer stop()
	at := int64(0)
	for i := 0; ; i++ {
		s.mu.Lock()
		for len(s.output) == i && stream.Context().Err() == nil {
			s.wake.Wait()
		}
		if stream.Context().Err() != nil {
			s.mu.Unlock()
			return stream.Context().Err()
		}
		out := s.output[i]
		s.mu.Unlock()
		at += int64(len(out.GetStdout()))
		if out.GetStdout() != nil && at <= start.GetFrom().GetStdout() {
			continue
		}
		if err := stream.Send(out); err != nil || out.GetExited() != nil {
			return err
		}
	}
}

// behave is a process.
func behave(ctx context.Context, args []string, signals chan int32, send func(*wire.Output)) {
	exit := func(code int32) {
		send(&wire.Output{Kind: &wire.Output_Exited{Exited: &wire.ExitStatus{
			Code: code, FinishedAt: timestamppb.New(time.Unix(1, 0)),
		}}})
	}
	say := func(text string) { send(&wire.Output{Kind: &wire.Output_Stdout{Stdout: []byte(text)}}) }
	await := func() bool {
		select {
		case <-signals:
			return true
		case <-ctx.Done():
			return false
		}
	}
	switch args[0] {
	case "echo":
		say(args[1] + "\n")
		exit(0)
		return
	case "greet":
		if await() {
			say(args[1] + "\n")
			exit(0)
		}
		return
	case "flood":
		if !await() {
			return
		}
		line := strings.Repeat("x", 1023) + "\n"
		for range 2 * attachBuffer / len(line) {
			say(line)
		}
	}
	for {
		select {
		case sig := <-signals:
			if args[0] == "stubborn" && sig != 9 {
				continue
			}
			exit(128 + sig)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (a *fakeAgent) Signal(ctx context.Context, req *agentpb.SignalRequest) (*agentpb.SignalResponse, error) {
	if a.hangSignal {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a.mu.Lock()
	ch := a.signals[req.GetId()]
	a.mu.Unlock()
	if ch == nil {
		return nil, status.Error(codes.NotFound, "no such process")
	}
	ch <- req.GetSignal()
	return &agentpb.SignalResponse{}, nil
}

func (a *fakeAgent) Statistics(context.Context, *agentpb.StatisticsRequest) (*wire.Statistics, error) {
	return &wire.Statistics{
		Sandbox:         &wire.ResourceUse{CpuUsec: 7},
		Containers:      map[string]*wire.ResourceUse{"web": {Processes: 1}, "invented": {}},
		HostMemoryBytes: 1 << 60,
	}, nil
}

func (a *fakeAgent) SetTime(_ context.Context, req *agentpb.SetTimeRequest) (*agentpb.SetTimeResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setTimes++
	a.seed = req.GetRandomSeed()
	return &agentpb.SetTimeResponse{}, a.failSetTime
}

func (a *fakeAgent) Shutdown(ctx context.Context, _ *agentpb.ShutdownRequest) (*agentpb.ShutdownResponse, error) {
	if a.hangShutdown {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a.mu.Lock()
	m := a.machine
	a.mu.Unlock()
	go m.die("")
	return &agentpb.ShutdownResponse{}, nil
}

// bundle writes a bundle with one container "web" whose command is args, after
// edit has had its way with it.
func bundle(t *testing.T, args []string, edit func(*drivers.Configuration)) string {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := drivers.Configuration{
		Version:     drivers.ConfigurationVersion,
		ID:          "default/web",
		Hostname:    "web",
		CPUs:        1,
		MemoryBytes: 128 << 20,
		DiskBytes:   disk.MinBytes,
		Kernel:      drivers.Kernel{Image: file("vmlinuz", "kernel")},
		Agent:       file("agent", "\x7fELF"),
		CacheDir:    filepath.Join(dir, "cache"),
		SocketDir:   filepath.Join(dir, "sockets"),
		Containers: []drivers.Container{{
			Name:    "web",
			Rootfs:  file("root.ext4", "root"),
			Process: drivers.ProcessSpec{Args: args},
		}},
	}
	// Making a disk is tested where it is made, and takes its time.
	if err := os.Truncate(file(DiskFile, ""), c.DiskBytes); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(&c)
	}
	if err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), c); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newFake returns a runtime above a fake hypervisor.
func newFake(h Hypervisor, opts Options) *sandbox {
	s := newSandbox(h, opts)
	s.connectAgent = connectFake
	return s
}
