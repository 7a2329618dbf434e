//go:build linux

package agent

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// shutdownGrace is how long killed processes have to be gone.
const shutdownGrace = 5 * time.Second

// shutdown ends everything and leaves the disk clean. It reports whether it is
// the caller who is to switch off: a second call has nothing to do. What fails
// is logged, to the console: there is no way but on.
func (g *guest) shutdown(ctx context.Context) bool {
	g.mu.Lock()
	if g.phase == phaseStopping {
		g.mu.Unlock()
		return false
	}
	g.phase = phaseStopping
	g.mu.Unlock()
	if _, err := g.frozen.thaw(); err != nil {
		g.log.Error("the disk stays frozen", "error", err)
	}

	ctx, cancel := context.WithTimeout(ctx, shutdownGrace)
	defer cancel()
	if err := g.killAll(ctx); err != nil {
		g.log.Error("processes are left", "error", err)
	}
	for _, m := range g.mountPoints() {
		if m.disk {
			// This holds for the file system itself, should another namespace that
			// is slow to go still have it mounted.
			if err := unix.Mount("", m.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				g.log.Error("the disk is in use", "dir", m.dir, "error", err)
			}
		}
		if err := unix.Unmount(m.dir, 0); err != nil {
			g.log.Error("not unmounted", "dir", m.dir, "error", err)
		}
	}
	unix.Sync()
	return true
}

// killAll kills all that runs in containers and waits until it is gone.
func (g *guest) killAll(ctx context.Context) error {
	return waitFor(ctx, 5*time.Millisecond, func() (bool, error) {
		g.mu.Lock()
		busy := len(g.processes) > 0
		g.mu.Unlock()
		if err := os.WriteFile(containersGroup+"/cgroup.kill", []byte("1"), 0); err != nil {
			return !busy, nil //nolint:nilerr // the cgroups may not be there yet
		}
		return keyedValues(containersGroup + "/cgroup.events")["populated"] == 0, nil
	})
}

// mountPoint is a file system; disk says that there are writes to keep.
type mountPoint struct {
	dir  string
	disk bool
}

// mountPoints returns what is to be unmounted, in order.
func (g *guest) mountPoints() []mountPoint {
	g.mu.Lock()
	defer g.mu.Unlock()
	var points []mountPoint
	for _, c := range g.containers {
		points = append(points, mountPoint{dir: c.root})
	}
	for _, base := range g.bases {
		points = append(points, mountPoint{dir: base})
	}
	for _, v := range g.volumes {
		if v.mount != "" {
			points = append(points, mountPoint{v.mount, v.disk && !v.readOnly})
		}
	}
	if isMountPoint(diskDir) {
		points = append(points, mountPoint{diskDir, true})
	}
	return points
}

// isMountPoint compares a directory with the one above it.
func isMountPoint(dir string) bool {
	var here, above unix.Stat_t
	return unix.Stat(dir, &here) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && here.Dev != above.Dev
}

// powerOff does not return: where the power cannot be switched off, the end of
// PID 1 stops the machine.
func powerOff() {
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	os.Exit(0)
}
