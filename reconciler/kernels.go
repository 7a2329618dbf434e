package reconciler

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// kernelsInterval is how often versions of kernels that were replaced are
// removed.
const kernelsInterval = 10 * time.Minute

// pruneKernels does so: kernels are installed without the daemon, and the version
// of before stays for those who boot it.
func (m *Manager) pruneKernels(ctx context.Context) {
	tick := time.NewTicker(kernelsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		used, err := m.kernelsInUse()
		if err == nil {
			err = m.opts.Kernels.Prune(ctx, func(dir string) bool { return used[dir] })
		}
		if err != nil && ctx.Err() == nil {
			m.log.Warn("remove old versions of kernels", "error", err)
		}
	}
}

// kernelsInUse returns the directories of the kernels that a sandbox runs, may
// run, or is about to.
func (m *Manager) kernelsInUse() (map[string]bool, error) {
	used := map[string]bool{}
	for _, o := range m.allObjects() {
		o.mu.Lock()
		up := o.attach != AttachNone
		if o.prepared != nil {
			used[filepath.Dir(o.prepared.configuration.Kernel.Image)] = true
		}
		o.mu.Unlock()
		if !up {
			continue
		}
		var cfg drivers.Configuration
		if err := state.ReadJSON(o.bundle.ConfigurationFile(), &cfg); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		used[filepath.Dir(cfg.Kernel.Image)] = true
	}
	return used, nil
}
