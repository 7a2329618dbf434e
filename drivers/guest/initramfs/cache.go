package initramfs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	cacheSubdir = "initramfs"
	// keepUnused is how long an initramfs that nobody asks for stays in the cache.
	keepUnused = 7 * 24 * time.Hour
	// format changes when Build writes something else from the same options.
	format = 3
)

// Cached returns the path of the initramfs for opts, below cacheDir, and builds
// it if it is not there. Files are known by path, size and modification time:
// a hit reads none of them. Processes may call it at the same time.
func Cached(cacheDir string, opts Options) (string, error) {
	key, err := cacheKey(opts)
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	dir := filepath.Join(cacheDir, cacheSubdir)
	path := filepath.Join(dir, key+".cpio")
	now := time.Now()
	// The time of last use, for prune; also the test whether it is there.
	err = os.Chtimes(path, now, now)
	if err == nil {
		return path, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	if err := state.MkdirAll(dir); err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	if err := build(path, opts); err != nil {
		return "", fmt.Errorf("build initramfs: %w", err)
	}
	prune(dir, now.Add(-keepUnused))
	return path, nil
}

func build(path string, opts Options) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(state.FileMode))
	if err != nil {
		return err
	}
	defer f.Cleanup() //nolint:errcheck // after the replacement there is nothing to clean up
	if err := Build(f, opts); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

func cacheKey(opts Options) (string, error) {
	key := struct {
		Format  int
		Options Options
		Files   []fileKey
	}{Format: format, Options: opts}
	paths := []string{opts.Agent}
	if opts.ModulesDir != "" {
		// A kernel's modules are replaced as a whole.
		paths = append(paths, opts.ModulesDir, filepath.Join(opts.ModulesDir, "kernel"))
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return "", err
		}
		key.Files = append(key.Files, fileKey{p, info.Size(), info.ModTime().UnixNano()})
	}
	data, err := json.Marshal(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

type fileKey struct {
	Path    string
	Size    int64
	ModTime int64
}

// prune removes what was not asked for since the given time. It is
// housekeeping: what it cannot remove stays.
func prune(dir string, since time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().Before(since) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
