package bundle

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// hostPath is a folder or file of this host, in one of the directories that
// sandboxes may be given parts of. If no container may write to it, the VM may not.
func (t *translation) hostPath(field string, v *corev1.Volume) *drivers.HostPathVolume {
	h := v.HostPath
	out := &drivers.HostPathVolume{Type: string(*h.Type), ReadOnly: t.onlyMountedForReading(v.Name)}
	if !filepath.IsAbs(h.Path) {
		t.errorf(field+".path", "%s is relative to a file that is not on this host: an absolute path is needed", h.Path)
		return out
	}
	root, ok := allowedRoot(t.HostPaths, filepath.Clean(h.Path))
	if !ok {
		t.errorf(field+".path", "%s may not be given to sandboxes: %s", h.Path, allowed(t.HostPaths, h.Path))
		return out
	}
	out.Root = root
	out.Path, _ = filepath.Rel(root, filepath.Clean(h.Path)) // which is below it
	return out
}

// allowedRoot returns the innermost of the directories that a path is in.
func allowedRoot(roots []string, path string) (string, bool) {
	best, found := "", false
	for _, root := range roots {
		if rel, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(rel) && len(root) >= len(best) {
			best, found = root, true
		}
	}
	return best, found
}

// allowed says what would have to be allowed.
func allowed(roots []string, path string) string {
	if len(roots) == 0 {
		return fmt.Sprintf("this host allows no host paths; start the daemon with --allow-host-paths %s, or a directory above it", path)
	}
	return fmt.Sprintf("this host allows %s; start the daemon with %s among its --allow-host-paths, or a directory above it", strings.Join(roots, ", "), path)
}

// onlyMountedForReading reports whether every mount of a volume is read-only.
func (t *translation) onlyMountedForReading(volume string) bool {
	return !slices.ContainsFunc(t.Sandbox.AllContainers(), func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume && !m.ReadOnly })
	})
}
