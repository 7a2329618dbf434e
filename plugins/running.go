package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Running is a plugin process that is on record in a bundle.
type Running struct {
	Plugin          string    `json:"plugin"`
	Version         string    `json:"version"`
	ProtocolVersion int       `json:"protocolVersion"`
	Executable      string    `json:"executable"`
	SHA256          string    `json:"sha256"`
	PID             int       `json:"pid"`
	StartedAt       time.Time `json:"startedAt"`
}

// RunningIn returns the plugin process of a bundle, as it was launched: the
// plugin may have been replaced since. Without one the error is ErrNoInstance.
func RunningIn(bundle string) (Running, error) {
	r, err := readRecord(bundle)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Running{}, fmt.Errorf("%s: %w", bundle, ErrNoInstance)
	case err != nil:
		return Running{}, err
	case !r.Process.Alive():
		return Running{}, fmt.Errorf("%s: %w: process %d is gone", bundle, ErrNoInstance, r.Process.PID)
	}
	return Running{
		Plugin: r.Plugin, Version: r.PluginVersion, ProtocolVersion: r.ProtocolVersion,
		Executable: r.Executable, SHA256: r.SHA256, PID: r.Process.PID, StartedAt: r.StartedAt,
	}, nil
}

// Checksum returns the SHA-256 of the plugin's program as it is now, in hex.
func (p *Plugin) Checksum() (string, error) {
	var c checksums
	return c.sum(p.Executable())
}

// Shadowed returns the plugins that Load leaves out because an earlier directory
// has one of the same kind and name.
func (l *Loader) Shadowed() []*Plugin {
	var shadowed []*Plugin
	_, problems := l.Load()
	for _, p := range problems {
		if !errors.Is(p.Err, ErrShadowed) {
			continue
		}
		if m, err := readManifest(filepath.Join(p.Path, ManifestFile)); err == nil {
			shadowed = append(shadowed, &Plugin{Manifest: m, Dir: p.Path, root: filepath.Dir(p.Path)})
		}
	}
	return shadowed
}

// Dirs returns the directories that are looked in.
func (l *Loader) Dirs() []string { return l.dirs }

// FindCLI returns the program that a command line "vzctl NAME" means: the
// plugin of kind cli, else the executable "vzctl-NAME" on PATH. If there is
// neither, the error wraps drivers.ErrNotFound.
func (l *Loader) FindCLI(name string) (program string, args []string, err error) {
	p, err := l.Find(KindCLI, name)
	if err == nil {
		if _, err := (&checksums{}).verify(p); err != nil {
			return "", nil, err
		}
		return p.Executable(), p.Args, nil
	}
	if path := lookPath(CLIPrefix + name); path != "" {
		return path, nil, nil
	}
	return "", nil, err
}

// CLIPrefix begins the names of programs on PATH that are verbs of vzctl.
const CLIPrefix = "vzctl-"

// lookPath finds an executable in a directory of PATH; a relative one is not
// looked in.
func lookPath(name string) string {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && isProgram(path) {
			return path
		}
	}
	return ""
}

func isProgram(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}
