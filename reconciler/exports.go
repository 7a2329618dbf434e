package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// exports keeps the exports of one sandbox apart: they have one directory.
type exports struct {
	mu      sync.Mutex
	running map[manifests.Key]*exportCall
}

type exportCall struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin waits for its turn. The caller calls end when nothing is left of the export.
func (e *exports) begin(ctx context.Context, key manifests.Key) (_ context.Context, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	call := &exportCall{cancel: cancel, done: make(chan struct{})}
	for {
		e.mu.Lock()
		other := e.running[key]
		if other == nil {
			e.running[key] = call
			e.mu.Unlock()
			break
		}
		e.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			cancel()
			return nil, nil, ctx.Err()
		}
	}
	return ctx, func() {
		cancel()
		e.mu.Lock()
		delete(e.running, key)
		e.mu.Unlock()
		close(call.done)
	}, nil
}

// endExport ends an export of the sandbox that is under way, and clears away
// what is left of it. One whose reader does not read is not waited for any longer:
// it has nothing left but that reader.
func (m *Manager) endExport(ctx context.Context, o *object) error {
	m.exports.mu.Lock()
	call := m.exports.running[o.key]
	m.exports.mu.Unlock()
	if call != nil {
		call.cancel()
	}
	wait, cancel := context.WithTimeout(ctx, exportStop)
	defer cancel()
	switch _, end, err := m.exports.begin(wait, o.key); {
	case err == nil:
		defer end()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return m.discardExport(ctx, o)
}

// discardExports clears away what an earlier daemon, which was killed amid an
// export, has left.
func (m *Manager) discardExports(ctx context.Context) {
	for _, o := range m.allObjects() {
		if _, err := os.Lstat(string(o.bundle.Export())); err != nil {
			continue
		}
		_, end, err := m.exports.begin(ctx, o.key)
		if err != nil {
			return // the daemon ends
		}
		if err := m.discardExport(ctx, o); err != nil {
			m.log.Warn("clear away what is left of an export", "object", o.key.String(), "error", err)
		}
		end()
	}
}

// discardExport ends the export's VM, if it runs, and removes its bundle.
func (m *Manager) discardExport(ctx context.Context, o *object) error {
	dir := string(o.bundle.Export())
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := m.opts.Runtimes.CleanUp(ctx, dir); err != nil {
		return fmt.Errorf("clean up after an export: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clean up after an export: %w", err)
	}
	return nil
}
