package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

const (
	keptVersion = 1
	// maxKept bounds a file of what was kept: git.DefaultLimits in base64.
	maxKept = 128 << 20
)

// kept is what outlives the daemon of the commit in force. When the file was
// last touched is when the repository was last reached.
type kept struct {
	Version int        `json:"version"`
	Source  string     `json:"source"`
	Commit  []byte     `json:"commit"` // as git has it
	Files   []git.File `json:"files"`
}

func (g *Git) keptFile() string {
	sum := sha256.Sum256([]byte(g.name()))
	return filepath.Join(g.opts.Dir, hex.EncodeToString(sum[:8])+".json")
}

// keep writes down what a commit holds.
func (g *Git) keep(c *git.Commit, files []git.File) error {
	if err := state.MkdirAll(g.opts.Dir); err != nil {
		return err
	}
	data, err := json.Marshal(kept{keptVersion, g.name(), c.Raw, files})
	if err != nil {
		return err
	}
	return state.WriteFile(g.keptFile(), data)
}

// touch notes when the repository was last reached.
func (g *Git) touch(now time.Time) {
	if err := os.Chtimes(g.keptFile(), now, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.opts.Log.Warn("note when a repository was reached", "source", g.name(), "error", err)
	}
}

// restore goes on from what an earlier daemon kept. It is judged anew, by the
// rules of today.
func (g *Git) restore() {
	c, files, at, err := g.readKept()
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		g.opts.Log.Error("what was kept of a commit is left out", "source", g.name(), "error", err)
		return
	}
	signer, err := g.verify(c)
	if err != nil {
		g.refused = g.refuse(c, g.errorAt("", err.Error()))
		g.refused.unproven = true
		return
	}
	t, errs := g.parse(c, signer, files)
	if len(errs) > 0 {
		g.refused = g.refuse(c, errs...)
		return
	}
	g.taken, g.seen = t, c.Hash
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lastSync = at
}

func (g *Git) readKept() (*git.Commit, []git.File, time.Time, error) {
	path := g.keptFile()
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	var k kept
	if err := json.NewDecoder(io.LimitReader(f, maxKept)).Decode(&k); err != nil {
		return nil, nil, time.Time{}, fmt.Errorf("read %s: %w", path, err)
	}
	if k.Version != keptVersion || k.Source != g.name() {
		return nil, nil, time.Time{}, fmt.Errorf("read %s: it is of another version or source", path)
	}
	c, err := git.DecodeCommit(k.Commit)
	return c, k.Files, fi.ModTime(), err
}

// CleanGit removes from a directory of Git sources what none of those given
// needs: it may hold secrets.
func CleanGit(dir string, sources []*Git) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	needed := map[string]bool{}
	for _, g := range sources {
		needed[filepath.Base(g.keptFile())] = true
	}
	for _, e := range entries {
		if !needed[e.Name()] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
