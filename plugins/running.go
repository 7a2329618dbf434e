package plugins

import (
	"errors"
	"fmt"
	"io/fs"
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
