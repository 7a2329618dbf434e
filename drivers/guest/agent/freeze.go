//go:build linux

package agent

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// maxFreeze bounds how long the disk may be frozen at one time, whatever the
// host asks for: while it is, whatever writes to it stands still.
const maxFreeze = 5 * time.Minute

// FIFREEZE and FITHAW of the kernel's include/uapi/linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

func (s *server) Freeze(_ context.Context, req *agentpb.FreezeRequest) (*agentpb.FreezeResponse, error) {
	return &agentpb.FreezeResponse{}, s.guest.freeze(req.GetLimit().AsDuration())
}

func (s *server) Thaw(context.Context, *agentpb.ThawRequest) (*agentpb.ThawResponse, error) {
	was, err := s.guest.frozen.thaw()
	return &agentpb.ThawResponse{WasFrozen: was}, err
}

// frozenDisk is the writable disk while nothing is written to it.
type frozenDisk struct {
	mu    sync.Mutex
	dir   *os.File    // of the file system; nil when it is not frozen
	guard *time.Timer // thaws it, should nobody else
}

// freeze writes the disk out and stops writing to it for at most the limit.
func (g *guest) freeze(limit time.Duration) error {
	if limit <= 0 || limit > maxFreeze {
		return fmt.Errorf("%w: the disk can be frozen for at most %s, not for %s", drivers.ErrInvalidArgument, maxFreeze, limit)
	}
	f := &g.frozen
	f.mu.Lock()
	defer f.mu.Unlock()
	// Under f.mu: a shutdown that begins now thaws what this freezes.
	g.mu.Lock()
	err := g.in("freeze", phaseConfigured)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	if f.dir != nil {
		return fmt.Errorf("%w: the disk is frozen already", drivers.ErrInvalidState)
	}
	if !isMountPoint(diskDir) {
		return fmt.Errorf("%w: there is no disk to freeze", drivers.ErrInvalidState)
	}
	dir, err := os.Open(diskDir)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(dir.Fd()), fiFreeze, 0); err != nil {
		dir.Close()
		return fmt.Errorf("freeze the disk: %w", err)
	}
	f.dir = dir
	f.guard = time.AfterFunc(limit, func() {
		g.log.Warn("the disk was frozen for too long", "limit", limit)
		_, _ = f.thawOf(dir)
	})
	return nil
}

// thaw lets writing go on. It reports whether the disk was frozen until now.
func (f *frozenDisk) thaw() (bool, error) { return f.thawOf(nil) }

// thawOf is thaw, but only of the given freeze unless it is nil.
func (f *frozenDisk) thawOf(dir *os.File) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir == nil || (dir != nil && f.dir != dir) {
		return false, nil
	}
	f.guard.Stop()
	if err := unix.IoctlSetInt(int(f.dir.Fd()), fiThaw, 0); err != nil {
		return true, fmt.Errorf("thaw the disk: %w", err)
	}
	f.dir.Close()
	f.dir = nil
	return true, nil
}
