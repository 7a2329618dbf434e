package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Loader finds the plugins that are installed.
type Loader struct {
	dirs []string
}

// NewLoader returns a Loader that looks in dirs, the user's first. A plugin is
// a directory in one of them that holds a ManifestFile. Directories that do not
// exist hold no plugins.
func NewLoader(dirs []string) *Loader {
	return &Loader{dirs: dirs}
}

// Problem is a plugin that was found and is not used.
type Problem struct {
	// Path is the plugin's directory.
	Path string
	// Err says why.
	Err error
}

func (p Problem) Error() string { return fmt.Sprintf("plugin in %s: %v", p.Path, p.Err) }
func (p Problem) Unwrap() error { return p.Err }

// ErrShadowed marks the Problem of a plugin whose kind and name an earlier
// directory has too.
var ErrShadowed = errors.New("shadowed")

// Load returns the plugins in the order found, the first of each kind and name,
// and what is wrong with all the others. It reads the directories anew.
func (l *Loader) Load() (plugins []*Plugin, problems []Problem) {
	type key struct {
		kind Kind
		name string
	}
	first := map[key]*Plugin{}
	for _, root := range l.dirs {
		if abs, err := filepath.Abs(root); err == nil {
			root = abs
		}
		entries, err := os.ReadDir(root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, Problem{Path: root, Err: err})
		}
		for _, e := range entries {
			dir := filepath.Join(root, e.Name())
			p, err := load(root, dir)
			if err != nil {
				problems = append(problems, Problem{Path: dir, Err: err})
				continue
			}
			if p == nil {
				continue
			}
			k := key{p.Kind, p.Name}
			if by := first[k]; by != nil {
				problems = append(problems, Problem{Path: dir, Err: fmt.Errorf("%w by the %s in %s", ErrShadowed, by, by.Dir)})
				continue
			}
			first[k] = p
			plugins = append(plugins, p)
		}
	}
	return plugins, problems
}

// load returns the plugin in dir, nil if there is none.
func load(root, dir string) (*Plugin, error) {
	if strings.HasPrefix(filepath.Base(dir), ".") {
		return nil, nil //nolint:nilnil // not a plugin, and nothing wrong either
	}
	path := filepath.Join(dir, ManifestFile)
	if _, err := os.Stat(path); err != nil {
		if fi, derr := os.Stat(dir); derr == nil && !fi.IsDir() {
			return nil, nil //nolint:nilnil // a stray file
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("it has no %s", ManifestFile)
		}
		return nil, err
	}
	m, err := readManifest(path)
	if err != nil {
		return nil, err
	}
	p := &Plugin{Manifest: m, Dir: dir, root: root}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// Find returns the plugin of a kind and name. If there is none, the error wraps
// drivers.ErrNotFound and says what there is, or what is wrong with the one meant.
func (l *Loader) Find(kind Kind, name string) (*Plugin, error) {
	plugins, problems := l.Load()
	var names []string
	for _, p := range plugins {
		if p.Kind != kind {
			continue
		}
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	has := "there is none"
	if len(names) > 0 {
		has = "there is " + strings.Join(names, ", ")
	}
	err := fmt.Errorf("%s plugin %q: %w: %s in %s", kind, name, drivers.ErrNotFound, has, strings.Join(l.dirs, ", "))
	for _, p := range problems {
		if !errors.Is(p.Err, ErrShadowed) {
			err = fmt.Errorf("%w; unusable: %w", err, p)
		}
	}
	return nil, err
}
