package linuxvm

import (
	"context"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/crilog"
)

// keptEvery is how many bytes of output may be in the log before the guest is
// told that it need not keep them: well below what it can keep.
const keptEvery = 64 << 10

// openLog opens the log of a process at the place where an earlier writer, which
// may have been killed, left it.
func openLog(v *vm, id string) (*crilog.Writer, error) {
	path := filepath.Join(v.bundle, drivers.LogsDir, id)
	log, err := crilog.NewWriter(path+".log", crilog.Options{PositionFile: path + ".position"})
	if err != nil {
		return nil, fmt.Errorf("open its log: %w", err)
	}
	return log, nil
}

func (s *sandbox) closeLog(id string, log *crilog.Writer) {
	if err := log.Close(); err != nil {
		s.log.Warn("a part of a log is lost", "process", id, "error", err)
	}
}

// accompany carries the stdio of a process that runs to and from its log and
// whoever is attached, and notes its end.
func (s *sandbox) accompany(v *vm, p *process, r *run, log *crilog.Writer) {
	exit, err := s.follow(s.life, v, p, r, log)
	r.output.close()
	s.exited(v, p, r, exit, err)
}

func (s *sandbox) follow(ctx context.Context, v *vm, p *process, r *run, log *crilog.Writer) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := v.client.agent.Follow(ctx)
	if err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	f := &followStream{Agent_FollowClient: stream}
	f.told = log.Begin(s.runKey(r))
	err = f.send(&agentpb.FollowRequest{Kind: &agentpb.FollowRequest_Start{Start: &agentpb.FollowStart{
		Id: p.id, Run: r.number, From: fromPosition(f.told),
	}}})
	if err != nil && ctx.Err() != nil {
		return drivers.ExitStatus{}, ctx.Err()
	}
	// Any other error of Send comes again, with its cause, from Recv.
	stdio := drivers.Stdio{Resize: r.resize}
	if r.input != nil {
		stdio.Stdin = r.input
	}
	write := func(stream string, stderr bool) writerFunc {
		w := r.output.writer(log.Stream(stream), stderr)
		return func(b []byte) (int, error) {
			n, err := w.Write(b)
			if err == nil {
				f.keep(log.Position())
			}
			return n, err
		}
	}
	stdio.Stdout, stdio.Stderr = write(crilog.Stdout, false), write(crilog.Stderr, true)
	exit, err := wire.Pump(ctx, f, stdio, nil)
	if err != nil {
		return drivers.ExitStatus{}, err
	}
	return trusted(exit), nil
}

// runKey tells a run from those of other processes in the same log: the guest
// counts from the start of its machine.
func (s *sandbox) runKey(r *run) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", s.machine.BootID, r.number)
	return h.Sum64()
}

// followStream is the agent's stream as package wire wants it.
type followStream struct {
	agentpb.Agent_FollowClient

	mu   sync.Mutex // of Send
	told crilog.Position
}

func (f *followStream) send(req *agentpb.FollowRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Send(req)
}

func (f *followStream) SendInput(in *wire.Input) error {
	return f.send(&agentpb.FollowRequest{Kind: &agentpb.FollowRequest_Input{Input: in}})
}

func (f *followStream) CloseSend() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Agent_FollowClient.CloseSend()
}

// keep tells the guest, now and then, what is in the log.
func (f *followStream) keep(pos crilog.Position) {
	if pos.Stdout-f.told.Stdout+pos.Stderr-f.told.Stderr < keptEvery {
		return
	}
	f.told = pos
	// A failure comes again from Recv.
	_ = f.send(&agentpb.FollowRequest{Kind: &agentpb.FollowRequest_Kept{Kept: fromPosition(pos)}})
}

func fromPosition(p crilog.Position) *agentpb.Position {
	return &agentpb.Position{Stdout: p.Stdout, Stderr: p.Stderr}
}
