package plugins

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// check makes sure that nobody but the user and root could have put the plugin
// there or can change it: neither its files nor the directories they lie in.
func (p *Plugin) check() error {
	exe, err := filepath.EvalSymlinks(p.Executable())
	if err != nil {
		return fmt.Errorf("command: %w", err)
	}
	dir, err := filepath.EvalSymlinks(p.Dir)
	if err != nil {
		return err
	}
	strict := []string{dir, filepath.Join(dir, ManifestFile), exe}
	if p.root != "" {
		strict = append(strict, p.root)
	}
	// The folders between the plugin's and its program's are the plugin's too.
	parent := filepath.Dir(exe)
	strict = append(strict, parent)
	for d := parent; d != dir && inside(dir, d); d = filepath.Dir(d) {
		strict = append(strict, d)
	}
	for _, path := range strict {
		if err := checkOwner(path); err != nil {
			return err
		}
	}
	for _, path := range []string{p.Dir, dir, parent} {
		if err := checkAncestors(path); err != nil {
			return err
		}
	}
	fi, err := os.Stat(exe)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return fmt.Errorf("command: %s is not an executable file: build it, or chmod +x it", exe)
	}
	return nil
}

// inside reports whether path lies below dir.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

func checkOwner(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := ownedByUs(path, fi); err != nil {
		return err
	}
	if fi.Mode()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (mode %04o): chmod go-w it", path, fi.Mode().Perm())
	}
	return nil
}

// checkAncestors makes sure that nobody else can put another directory in the
// place of one above path. What is sticky, as /tmp, keeps others' hands off what
// is in it; what belongs to root may have a group of administrators.
func checkAncestors(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := ownedByUs(dir, fi); err != nil {
			return err
		}
		st, _ := fi.Sys().(*syscall.Stat_t)
		others := fi.Mode()&0o002 != 0 || fi.Mode()&0o020 != 0 && (st == nil || st.Uid != 0)
		if others && fi.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("%s, which holds the plugin, can be written by others (mode %04o): chmod go-w it", dir, fi.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func ownedByUs(path string, fi fs.FileInfo) error {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s belongs to user %d: it must be yours or root's", path, st.Uid)
	}
	return nil
}

// checksums remembers the checksums of programs, which are large, for as long
// as the files stay as they are.
type checksums struct {
	mu   sync.Mutex
	sums map[fileVersion]string
}

// fileVersion changes whenever a file's content may have: the change time is
// the kernel's own.
type fileVersion struct {
	path        string
	dev, inode  uint64
	size        int64
	mtime, ctim int64
}

// verify returns the checksum of the plugin's program, after it has made sure
// that it is the one that the manifest asks for.
func (c *checksums) verify(p *Plugin) (string, error) {
	if err := p.check(); err != nil {
		return "", fmt.Errorf("%s: %w: %w", p, drivers.ErrUnavailable, err)
	}
	sum, err := c.sum(p.Executable())
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", p, drivers.ErrUnavailable, err)
	}
	if want := strings.ToLower(p.SHA256); want != "" && subtle.ConstantTimeCompare([]byte(sum), []byte(want)) != 1 {
		return "", fmt.Errorf("%s: %w: the checksum of %s is %s, its %s wants %s: install the plugin anew",
			p, drivers.ErrUnavailable, p.Executable(), sum, ManifestFile, want)
	}
	return sum, nil
}

func (c *checksums) sum(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // checked to be the user's own
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	version := versionOf(path, fi)
	c.mu.Lock()
	defer c.mu.Unlock()
	if sum, ok := c.sums[version]; ok {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("checksum of %s: %w", path, err)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	// One version of a file is enough: the map stays as small as the set of plugins.
	for v := range c.sums {
		if v.path == path {
			delete(c.sums, v)
		}
	}
	if c.sums == nil {
		c.sums = map[fileVersion]string{}
	}
	c.sums[version] = sum
	return sum, nil
}

func versionOf(path string, fi fs.FileInfo) fileVersion {
	v := fileVersion{path: path, size: fi.Size(), mtime: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		v.dev, v.inode, v.ctim = uint64(st.Dev), st.Ino, changeTime(st) //nolint:unconvert // its type differs by system
	}
	return v
}
