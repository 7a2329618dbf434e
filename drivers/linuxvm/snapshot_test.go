package linuxvm

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// fakeDisk is what a fake agent freezes.
type fakeDisk struct {
	// Faults: a freeze that never comes back, one that lapses at once.
	hang, lapses bool

	mu             sync.Mutex
	frozen         bool
	freezes, thaws int
	limit          time.Duration
}

func (a *fakeAgent) Freeze(ctx context.Context, req *agentpb.FreezeRequest) (*agentpb.FreezeResponse, error) {
	d := &a.disk
	d.mu.Lock()
	d.frozen = !d.lapses
	d.freezes++
	d.limit = req.GetLimit().AsDuration()
	d.mu.Unlock()
	if d.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &agentpb.FreezeResponse{}, nil
}

func (a *fakeAgent) Thaw(context.Context, *agentpb.ThawRequest) (*agentpb.ThawResponse, error) {
	d := &a.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.frozen
	d.frozen = false
	d.thaws++
	return &agentpb.ThawResponse{WasFrozen: was}, nil
}

func (d *fakeDisk) want(t *testing.T, freezes int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen || d.freezes != freezes || d.thaws != freezes {
		t.Errorf("frozen: %v, after %d freezes and %d thaws, want %d of each", d.frozen, d.freezes, d.thaws, freezes)
	}
}

func TestSnapshotFreezesTheGuestForTheCopyOnly(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		path := filepath.Join(t.TempDir(), "snapshot")
		if err := rt.SnapshotDisk(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		h.agent.disk.want(t, 1)
		if limit := h.agent.disk.limit; limit <= 0 || limit > 5*time.Minute {
			t.Errorf("the guest may be frozen for %s", limit)
		}
		if err := rt.Stop(t.Context(), drivers.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := rt.SnapshotDisk(t.Context(), path+"-stopped"); err != nil {
			t.Fatal(err)
		}
		h.agent.disk.want(t, 1)
	})
}

func TestSnapshotThatFailsThawsAndLeavesNoFile(t *testing.T) {
	for name, tc := range map[string]struct {
		hang, lapses bool
		gone         bool // the disk is
		kind         error
	}{
		"hung":   {hang: true, kind: context.DeadlineExceeded},
		"lapsed": {lapses: true, kind: drivers.ErrExhausted},
		"gone":   {gone: true, kind: drivers.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			world(t, func(t *testing.T) {
				h := &fakeHypervisor{}
				h.agent.disk.hang, h.agent.disk.lapses = tc.hang, tc.lapses
				dir := bundle(t, []string{"sleep"}, nil)
				rt := runWeb(t, h, dir)
				if tc.gone {
					if err := os.Remove(filepath.Join(dir, DiskFile)); err != nil {
						t.Fatal(err)
					}
				}
				path := filepath.Join(t.TempDir(), "snapshot")
				if err := rt.SnapshotDisk(t.Context(), path); !errors.Is(err, tc.kind) {
					t.Errorf("error %v, want %v", err, tc.kind)
				}
				h.agent.disk.want(t, 1)
				if _, err := os.Lstat(path); err == nil {
					t.Error("it left a file")
				}
			})
		})
	}
}

func TestStopAndPauseDoNotFindTheGuestFrozen(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		h.agent.disk.hang = true
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		path := filepath.Join(t.TempDir(), "snapshot")
		done := make(chan error, 1)
		go func() { done <- rt.SnapshotDisk(t.Context(), path) }()
		synctest.Wait()
		wantError(t, rt.Pause(t.Context()), drivers.ErrInvalidState, "snapshot")
		wantError(t, rt.SnapshotDisk(t.Context(), path+"2"), drivers.ErrInvalidState, "another snapshot")
		begin := time.Now()
		if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("stop waited %s for the snapshot", took)
		}
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the snapshot: %v, want that it was given up", err)
		}
		h.agent.disk.want(t, 1)
	})
}

func (a *fakeAgent) CopyIn(stream grpc.ClientStreamingServer[wire.CopyIn, agentpb.CopyInResponse]) error {
	err := wire.ServeCopyIn(stream.Context(), stream.Recv, nil, func(req drivers.CopyInRequest, archive io.Reader) error {
		if strings.HasSuffix(req.Path, "early") {
			return drivers.ErrInvalidArgument
		}
		_, err := io.Copy(io.Discard, archive)
		return err
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&agentpb.CopyInResponse{})
}

func (a *fakeAgent) CopyOut(m *wire.CopyOutStart, stream grpc.ServerStreamingServer[wire.Piece]) error {
	return wire.ServeCopyOut(stream.Context(), m, stream.Send, nil, func(_ drivers.CopyOutRequest, w io.Writer) error {
		for { // a guest that never ends
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	})
}

// endless can be read for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestCopyEndsWhenEitherSideWantsNoMore(t *testing.T) {
	h := &fakeHypervisor{}
	rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
	err := rt.CopyIn(t.Context(), drivers.CopyInRequest{Container: "web", Path: "/early"}, endless{})
	wantError(t, err, drivers.ErrInvalidArgument, "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = rt.CopyIn(ctx, drivers.CopyInRequest{Container: "web", Path: "/late"}, endless{})
	wantError(t, err, context.DeadlineExceeded, "")
	full := errors.New("full")
	n := 0
	err = rt.CopyOut(t.Context(), drivers.CopyOutRequest{Container: "web", Path: "/x"}, writerFunc(func(p []byte) (int, error) {
		if n += len(p); n > 8<<20 {
			return 0, full
		}
		return len(p), nil
	}))
	wantError(t, err, full, "")
	for _, p := range []string{"", "relative", "/nul\x00", "/" + strings.Repeat("x", 5000)} {
		wantError(t, rt.CopyOut(t.Context(), drivers.CopyOutRequest{Container: "web", Path: p}, io.Discard), drivers.ErrInvalidArgument, "")
	}
	// A machine that goes takes the copy along.
	done := make(chan error, 1)
	go func() {
		done <- rt.CopyIn(t.Context(), drivers.CopyInRequest{Container: "web", Path: "/late"}, endless{})
	}()
	h.last().die("killed")
	if err := <-done; err == nil {
		t.Error("the copy succeeded in a machine that was killed")
	}
}
