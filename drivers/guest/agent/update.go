//go:build linux

package agent

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// update changes limits, resolver and host names of the containers that are there.
func (g *guest) update(live *wire.Live) error {
	g.updating.Lock()
	defer g.updating.Unlock()
	g.mu.Lock()
	err := g.in("update", phaseConfigured)
	was, containers := g.etc, maps.Clone(g.containers)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	for _, l := range live.GetLimits() {
		if containers[l.GetContainer()] == nil {
			return fmt.Errorf("%w: no container %q", drivers.ErrNotFound, l.GetContainer())
		}
	}
	etc := etcFiles{
		hostname:   was.hostname,
		hosts:      hosts(strings.TrimSuffix(was.hostname, "\n"), live.GetHostAliases()),
		resolvConf: resolvConf(live.GetNameservers(), live.GetSearches(), live.GetDnsOptions()),
	}
	var errs []error
	for name := range containers {
		errs = append(errs, etc.rewrite(filepath.Join(etcDir, name), was))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	g.mu.Lock()
	g.etc = etc
	g.mu.Unlock()
	for _, l := range live.GetLimits() {
		if err := limitGroup(containers[l.GetContainer()].cgroup, l.GetCpuMillis(), l.GetMemoryBytes()); err != nil {
			errs = append(errs, fmt.Errorf("container %q: %w", l.GetContainer(), err))
		}
	}
	return errors.Join(errs...)
}
