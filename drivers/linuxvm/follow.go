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
// whoever is attached, and notes its end. The process does not end with the link
// to its agent: the next one finds it again.
func (s *sandbox) accompany(v *vm, p *process, r *run, log *crilog.Writer) {
	from := s.beginLog(r, log)
	link := v.client.current()
	exit, err := s.follow(s.life, v, p, r, log, from)
	for err != nil && v.lost(link, streamThroes) {
		var werr error
		if link, werr = v.client.working(s.life); werr != nil {
			break
		}
		exit, err = s.follow(s.life, v, p, r, log, log.Position())
	}
	r.output.close()
	s.exited(v, p, r, exit, err)
}

// beginLog returns where in the run's output the log goes on.
func (s *sandbox) beginLog(r *run, log *crilog.Writer) crilog.Position {
	s.mu.Lock()
	r.log = log
	from := r.from
	s.mu.Unlock()
	key := s.runKey(r)
	if from == nil {
		return log.Begin(key)
	}
	at := crilog.Position{Run: key, Stdout: from.Stdout, Stderr: from.Stderr}
	log.BeginAt(at)
	return at
}

// follow has the agent tell of a process from a place in its output on. What the
// log has taken behind that, the beginning of a line, comes once more.
func (s *sandbox) follow(ctx context.Context, v *vm, p *process, r *run, log *crilog.Writer, from crilog.Position) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := v.client.agent.Follow(ctx)
	if err != nil {
		return drivers.ExitStatus{}, wire.FromStatus(err)
	}
	f := &followStream{Agent_FollowClient: stream, told: from}
	err = f.send(&agentpb.FollowRequest{Kind: &agentpb.FollowRequest_Start{Start: &agentpb.FollowStart{
		Id: p.id, Run: r.number, From: fromPosition(f.told),
	}}})
	if err != nil && ctx.Err() != nil {
		return drivers.ExitStatus{}, ctx.Err()
	}
	// Any other error of Send comes again, with its cause, from Recv.
	stdio := drivers.Stdio{Resize: r.resize}
	if r.input != nil {
		stdio.Stdin = r.input.Reader(ctx)
	}
	write := func(stream string, stderr bool, again int64) writerFunc {
		w := r.output.writer(log.Stream(stream), stderr)
		return func(b []byte) (int, error) {
			known := min(again, int64(len(b)))
			again -= known
			if _, err := w.Write(b[known:]); err != nil {
				return 0, err
			}
			f.keep(log.Position())
			return len(b), nil
		}
	}
	taken := log.Taken()
	stdio.Stdout = write(crilog.Stdout, false, taken.Stdout-from.Stdout)
	stdio.Stderr = write(crilog.Stderr, true, taken.Stderr-from.Stderr)
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
