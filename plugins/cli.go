package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// CLIPrefix begins the names of programs on PATH that are verbs of vzctl.
const CLIPrefix = "vzctl-"

// CLI is a verb of vzctl that a plugin adds.
type CLI struct {
	Name, Abstract string
	// Path is the plugin's directory, or the program if there is none.
	Path string
	// Manifest says that it is a plugin with a manifest.
	Manifest bool
}

// CLIs returns the verbs that plugins add, by name: plugins of kind cli, and
// executables "vzctl-NAME" on PATH. Of one name, the first that FindCLI finds is
// there.
func (l *Loader) CLIs() []CLI {
	var all []CLI
	has := func(name string) bool {
		return slices.ContainsFunc(all, func(c CLI) bool { return c.Name == name })
	}
	found, _ := l.Load()
	for _, p := range found {
		if p.Kind == KindCLI {
			all = append(all, CLI{Name: p.Name, Abstract: p.Abstract, Path: p.Dir, Manifest: true})
		}
	}
	for _, dir := range pathDirs() {
		programs, _ := filepath.Glob(filepath.Join(dir, CLIPrefix+"*")) // a directory with odd characters has none
		for _, program := range programs {
			name := strings.TrimPrefix(filepath.Base(program), CLIPrefix)
			if name != "" && !has(name) && isProgram(program) {
				all = append(all, CLI{Name: name, Path: program})
			}
		}
	}
	slices.SortFunc(all, func(a, b CLI) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// FindCLI returns the program that a command line "vzctl NAME" means, and the
// arguments that come first: the plugin of kind cli, else the executable
// "vzctl-NAME" on PATH. If there is neither, the error wraps drivers.ErrNotFound;
// if the plugin is there and cannot be used, drivers.ErrUnavailable.
func (l *Loader) FindCLI(name string) (program string, args []string, err error) {
	p, err := l.Find(KindCLI, name)
	if err == nil {
		if _, err := (&checksums{}).verify(p); err != nil {
			return "", nil, err
		}
		return p.Executable(), p.Args, nil
	}
	if filepath.Base(name) != name {
		return "", nil, err
	}
	// A broken one must not give way to another program without a word.
	_, problems := l.Load()
	for _, p := range problems {
		if base := filepath.Base(p.Path); !errors.Is(p.Err, ErrShadowed) && (base == name || base == string(KindCLI)+"-"+name) {
			return "", nil, fmt.Errorf("%w: %w", drivers.ErrUnavailable, p)
		}
	}
	for _, dir := range pathDirs() {
		if program := filepath.Join(dir, CLIPrefix+name); isProgram(program) {
			return program, nil, nil
		}
	}
	return "", nil, err
}

// pathDirs returns the directories of PATH. Relative ones are not looked in:
// what they mean depends on where one stands.
func pathDirs() []string {
	return slices.DeleteFunc(filepath.SplitList(os.Getenv("PATH")), func(dir string) bool { return !filepath.IsAbs(dir) })
}

func isProgram(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}
