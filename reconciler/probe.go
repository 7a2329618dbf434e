package reconciler

import (
	"context"
	"time"
)

// probeInterval is how often the runtimes are asked again whether they can run
// sandboxes on this host: a user may have installed what was missing.
const probeInterval = 10 * time.Minute

// probeRuntimes keeps what Status tells about the runtimes up to date.
func (m *Manager) probeRuntimes(ctx context.Context) {
	for {
		infos, err := m.opts.Runtimes.List(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.log.Warn("probe the runtimes", "error", err)
		}
		for _, info := range infos {
			m.opts.Metrics.SetPluginUp(info.Name, info.Err == nil)
			if info.Err != nil {
				m.log.Warn("runtime cannot run sandboxes here", "runtime", info.Name, "error", info.Err)
			}
		}
		m.mu.Lock()
		m.runtimes = infos
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeInterval):
		}
	}
}
