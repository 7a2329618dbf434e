package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// StateDirEnv is the environment variable that names the state directory.
const StateDirEnv = "VZ_STATE_DIR"

const program = "vzreconciler"

// StateDir is the path of the daemon's state directory.
type StateDir string

// DefaultStateDir returns the state directory of this user: $VZ_STATE_DIR, else
// the place the platform has for such things.
func DefaultStateDir() (StateDir, error) {
	if dir := os.Getenv(StateDirEnv); dir != "" {
		abs, err := filepath.Abs(dir)
		return StateDir(abs), err
	}
	dir, err := userDir("XDG_DATA_HOME", ".local/share")
	return StateDir(dir), err
}

// DataDirs returns the directories of data of this user's that a daemon with
// this state directory looks in: the state directory, and the user's own.
func (s StateDir) DataDirs() []string {
	dirs := []string{string(s)}
	if dir, err := userDir("XDG_DATA_HOME", ".local/share"); err == nil && dir != string(s) {
		dirs = append(dirs, dir)
	}
	return dirs
}

// DefaultManifestsDir returns the directory of this user's manifests.
func DefaultManifestsDir() (string, error) {
	dir, err := userDir("XDG_CONFIG_HOME", ".config")
	return filepath.Join(dir, "manifests"), err
}

// userDir returns the program's directory below the XDG directory that a
// variable names, with its default below the home directory, and the one
// directory that macOS has for all of them.
func userDir(variable, fallback string) (string, error) {
	if runtime.GOOS != "darwin" {
		// The XDG specification has relative paths ignored.
		if dir := os.Getenv(variable); filepath.IsAbs(dir) {
			return filepath.Join(dir, program), nil
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home directory: %w: set %s", err, StateDirEnv)
	}
	if !filepath.IsAbs(home) {
		return "", errors.New("find the home directory: $HOME is not an absolute path")
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", program), nil
	}
	return filepath.Join(home, filepath.FromSlash(fallback), program), nil
}

// RunDir holds sockets and what else dies with the daemon.
func (s StateDir) RunDir() string { return s.join("run") }

// ControlSocket is the socket of the control API.
func (s StateDir) ControlSocket() string { return s.join("run", "vzreconciler.sock") }

// Lock is held by the one daemon that uses the state directory.
func (s StateDir) Lock() string { return s.join("run", "lock") }

// Images is the image store.
func (s StateDir) Images() string { return s.join("images") }

// Kernels is the kernel store.
func (s StateDir) Kernels() string { return s.join("kernels") }

// Sandboxes holds a directory per namespace, which holds the bundles.
func (s StateDir) Sandboxes() string { return s.join("sandboxes") }

// Bundle is the bundle of a sandbox.
func (s StateDir) Bundle(namespace, name string) Bundle {
	return Bundle(s.join("sandboxes", namespace, name))
}

// Volumes holds a directory per namespace, which holds the volumes of claims.
func (s StateDir) Volumes() string { return s.join("volumes") }

// Networks holds a directory per network.
func (s StateDir) Networks() string { return s.join("networks") }

// Network is the directory of one of them.
func (s StateDir) Network(name string) string { return s.join("networks", name) }

// Workloads holds the records of the objects that make sandboxes.
func (s StateDir) Workloads() string { return s.join("workloads") }

// Workload is the directory of one of them.
func (s StateDir) Workload(kind, namespace, name string) string {
	return s.join("workloads", strings.ToLower(kind), namespace, name)
}

// Events is where events are kept.
func (s StateDir) Events() string { return s.join("events") }

// Inventory is the record of the objects that were applied.
func (s StateDir) Inventory() string { return s.join("inventory.json") }

// Suspension tells whether manifests are followed.
func (s StateDir) Suspension() string { return s.join("suspension.json") }

// Git holds what is in force of Git repositories.
func (s StateDir) Git() string { return s.join("git") }

// CacheDir holds what can be made again.
func (s StateDir) CacheDir() string { return s.join("cache") }

// DaemonLog is the daemon's log when it runs as a service.
func (s StateDir) DaemonLog() string { return s.join("vzreconciler.log") }

func (s StateDir) join(elem ...string) string {
	return filepath.Join(append([]string{string(s)}, elem...)...)
}

// Bundle is the path of a sandbox's bundle directory.
type Bundle string

// ConfigurationFile is what the runtime is bootstrapped from.
func (b Bundle) ConfigurationFile() string { return b.join(drivers.ConfigurationFile) }

// ObjectFile is the record of the object as applied.
func (b Bundle) ObjectFile() string { return b.join("object.json") }

// StatusFile is the last known status.
func (b Bundle) StatusFile() string { return b.join("status.json") }

// ReattachFile tells how to reach the plugin process.
func (b Bundle) ReattachFile() string { return b.join("reattach.json") }

// Disk is the writable disk.
func (b Bundle) Disk() string { return b.join("disk.img") }

// VolumesDir holds the disks of volumes that go with it.
func (b Bundle) VolumesDir() string { return b.join(drivers.VolumesDir) }

// Export is the bundle of the VM that an export of the sandbox reads from, while
// there is one.
func (b Bundle) Export() Bundle { return Bundle(b.join("export")) }

// TLSDir holds the keys of the connection to the plugin process.
func (b Bundle) TLSDir() string { return b.join("tls") }

// LogsDir holds the logs.
func (b Bundle) LogsDir() string { return b.join(drivers.LogsDir) }

// ProcessLog is what a process prints; a container's init process has the
// container's name.
func (b Bundle) ProcessLog(id string) string { return b.join(drivers.LogsDir, id+".log") }

// ConsoleLog is what the guest's kernel and agent print.
func (b Bundle) ConsoleLog() string { return b.join(drivers.LogsDir, drivers.ConsoleLog) }

// PluginLog is the plugin process's own log.
func (b Bundle) PluginLog() string { return b.join(drivers.LogsDir, "_plugin.log") }

func (b Bundle) join(elem ...string) string {
	return filepath.Join(append([]string{string(b)}, elem...)...)
}
