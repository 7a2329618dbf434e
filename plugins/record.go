package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// ReattachFile is the file in a bundle that tells how to reach its plugin process.
const ReattachFile = "reattach.json"

const recordVersion = 1

// record is the content of a ReattachFile.
type record struct {
	Version         int       `json:"version"`
	Process         procfs.ID `json:"process"`
	Socket          string    `json:"socket"`
	ProtocolVersion int       `json:"protocolVersion"`
	Plugin          string    `json:"plugin"`
	PluginVersion   string    `json:"pluginVersion"`
	Executable      string    `json:"executable"`
	// SHA256 is of the program as it was started; it may have been replaced since.
	SHA256    string    `json:"sha256"`
	StartedAt time.Time `json:"startedAt"`
}

// errBadRecord is for a file that cannot be what a launcher wrote.
var errBadRecord = errors.New("unusable record of a plugin process")

func readRecord(bundle string) (record, error) {
	path := filepath.Join(bundle, ReattachFile)
	var r record
	if err := state.ReadJSON(path, &r); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return record{}, err
		}
		return record{}, fmt.Errorf("%w: %w", errBadRecord, err)
	}
	if r.Version != recordVersion || r.Process.PID <= 1 || r.Process.StartTime == 0 || !filepath.IsAbs(r.Socket) {
		return record{}, fmt.Errorf("%w: %s", errBadRecord, path)
	}
	return r, nil
}

func (r record) write(bundle string) error {
	return state.WriteJSON(filepath.Join(bundle, ReattachFile), r)
}

// CleanUp ends what is left of a bundle's plugin process after a crash of it or
// of the daemon: the process, those that it started (see drivers.BundleEnv) and
// those in extra, and removes their sockets and keys. Processes are only ever
// ended when their start times match too; what is gone already is no error. It
// returns once all of them are gone, or ctx is done.
func CleanUp(ctx context.Context, bundle string, extra ...procfs.ID) error {
	r, err := readRecord(bundle)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errBadRecord) {
		return fmt.Errorf("clean up %s: %w", bundle, err)
	}
	errs := []error{endAll(ctx, bundle, r.Process)}
	for _, id := range extra {
		errs = append(errs, end(ctx, id, false))
	}
	// What could not be ended stays on record.
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up %s: %w", bundle, err)
	}
	if err := forget(bundle, r); err != nil {
		return fmt.Errorf("clean up %s: %w", bundle, err)
	}
	return nil
}

// forget removes what a plugin process that is gone leaves behind. The bundle is
// left alone when it has another process by now.
func forget(bundle string, r record) error {
	if now, err := readRecord(bundle); err == nil && now.Process != r.Process {
		return removeSocket(r.Socket)
	}
	return errors.Join(
		removeSocket(r.Socket),
		os.RemoveAll(tlsPath(bundle)),
		remove(filepath.Join(bundle, ReattachFile)),
	)
}

// socketDirPrefix begins the names of the directories that go-plugin makes for
// a plugin's socket.
const socketDirPrefix = "plugin-dir"

// removeSocket removes a plugin's socket and the directory made for it. A path
// that is not like one of ours is left alone, whatever a record says.
func removeSocket(path string) error {
	dir := filepath.Dir(path)
	if !strings.HasPrefix(filepath.Base(dir), socketDirPrefix) {
		return nil
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == fs.ModeSocket {
		if err := remove(path); err != nil {
			return err
		}
	}
	return remove(dir)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// endAll ends a plugin process and whatever was started for its bundle, unless
// that has another plugin process by now.
func endAll(ctx context.Context, bundle string, plugin procfs.ID) error {
	// The plugin first: it starts no more then.
	errs := []error{end(ctx, plugin, true)}
	if now, err := readRecord(bundle); err == nil && now.Process != plugin {
		return errs[0]
	}
	left, err := procfs.WithEnv(drivers.BundleEnv, bundle)
	errs = append(errs, err)
	for _, id := range left {
		errs = append(errs, end(ctx, id, false))
	}
	return errors.Join(errs...)
}

// end kills the process if it is still the one meant, and its group with it if
// it leads one, and waits until it is gone.
func end(ctx context.Context, id procfs.ID, group bool) error {
	if id.PID <= 1 || id.PID == os.Getpid() || !id.Alive() {
		return nil
	}
	if pgid, err := syscall.Getpgid(id.PID); group && err == nil && pgid == id.PID {
		// The leader is alive, so the group's number is its own.
		if err := syscall.Kill(-id.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill process group %d: %w", id.PID, err)
		}
	}
	if err := id.Kill(); err != nil {
		return err
	}
	gone, err := id.Watch(ctx)
	if err != nil {
		return err
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process %d does not end: %w", id.PID, ctx.Err())
	}
}
