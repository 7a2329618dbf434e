package linuxvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
)

const (
	// freezeLimit bounds how long a guest's writers stand still for a snapshot. The
	// agent keeps to it should this process be gone.
	freezeLimit = 2 * time.Minute
	// freezeTimeout bounds the wait for the guest to write out what it holds.
	freezeTimeout = 30 * time.Second
)

// SnapshotDisk copies the disk while nothing is written to it.
func (s *sandbox) SnapshotDisk(ctx context.Context, path string) error {
	const op = "snapshot the disk"
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: %w: %q is not an absolute path", op, drivers.ErrInvalidArgument, path)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v, state, end, err := s.beginCapture(op, cancel, drivers.StateBooted, drivers.StateRunning, drivers.StateStopped)
	if err != nil {
		return err
	}
	defer end()
	if state == drivers.StateStopped {
		err = snapshotFile(ctx, v, path)
	} else {
		err = s.snapshotFrozen(ctx, v, path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// snapshotFrozen freezes the guest's disk for as long as the copy takes.
func (s *sandbox) snapshotFrozen(ctx context.Context, v *vm, path string) (err error) {
	fctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	// Whether the call succeeds or is given up: the guest may be frozen.
	defer func() {
		was, terr := v.thaw(ctx)
		switch {
		case err != nil:
		case terr != nil:
			err = terr
		case !was:
			err = fmt.Errorf("%w: the copy took longer than the guest may be frozen, %s: stop the sandbox first", drivers.ErrExhausted, freezeLimit)
		}
		if err != nil {
			err = errors.Join(err, removeSnapshot(path, err))
		}
	}()
	if _, err := v.client.agent.Freeze(fctx, &agentpb.FreezeRequest{Limit: durationpb.New(freezeLimit)}); err != nil {
		return v.callError(err)
	}
	cctx, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	return snapshotFile(cctx, v, path)
}

// thaw lets the guest write again, whatever has become of the caller.
func (v *vm) thaw(ctx context.Context) (was bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	m, err := v.client.agent.Thaw(ctx, &agentpb.ThawRequest{})
	if err != nil {
		return false, fmt.Errorf("thaw the guest's disk: %w", wire.FromStatus(err))
	}
	return m.GetWasFrozen(), nil
}

// errThere marks a file that was there before.
var errThere = errors.New("the file is there already")

func snapshotFile(ctx context.Context, v *vm, path string) error {
	err := sparsefile.Copy(ctx, path, filepath.Join(v.bundle, DiskFile))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s: %w", drivers.ErrInvalidArgument, path, errThere)
	}
	return notFound(exhausted(err))
}

// exhausted gives a lack of space its kind.
func exhausted(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", drivers.ErrExhausted, err)
	}
	return err
}

// removeSnapshot removes a copy that is not one of a frozen disk.
func removeSnapshot(path string, cause error) error {
	if errors.Is(cause, errThere) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
