package kernels

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// DefaultName is the name of the kernel that a sandbox gets if it names none.
const DefaultName = "default"

// Errors that callers tell apart.
var (
	// ErrNotInstalled means that the store has no kernel of that name.
	ErrNotInstalled = errors.New("not installed")
	// ErrInvalid means that what was to be installed is no usable kernel.
	ErrInvalid = errors.New("not a usable kernel")
	// ErrNoSpace means that the disk is full.
	ErrNoSpace = errors.New("no space left on the disk")
)

// Kernel is an installed kernel. All paths are absolute.
type Kernel struct {
	Name string
	// Version is what uname -r prints, Arch the GOARCH it is for.
	Version string
	Arch    string
	// Image is the kernel as its package ships it, VMLinux the same kernel as an
	// uncompressed ELF file with a PVH entry, or empty.
	Image   string
	VMLinux string
	// ModulesDir holds "kernel/", modules.builtin and modules.order; it is empty
	// for a kernel without modules.
	ModulesDir string
	// Source says, for people, where it came from.
	Source      string
	InstalledAt time.Time
}

// Store is a directory of kernels. It is safe for concurrent use, also by
// several processes.
type Store struct {
	dir string
}

// Open returns the store in dir, which need not exist yet.
func Open(dir string) *Store {
	return &Store{dir: dir}
}

const (
	recordFile    = "kernel.json"
	recordVersion = 1
	imageFile     = "image"
	vmlinuxFile   = "vmlinux"
	modulesDir    = "modules"
	tempPrefix    = ".tmp-"
	lockFile      = ".lock"
)

// record is kernel.json. Dir is relative, so that a state directory can be moved.
type record struct {
	FormatVersion int       `json:"formatVersion"`
	Version       string    `json:"version"`
	Arch          string    `json:"arch"`
	Dir           string    `json:"dir"`
	VMLinux       bool      `json:"vmlinux,omitempty"`
	Modules       bool      `json:"modules,omitempty"`
	Source        string    `json:"source"`
	InstalledAt   time.Time `json:"installedAt"`
}

var (
	nameRE    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	versionRE = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~_-]{0,127}$`)
)

func checkName(name string) error {
	if !nameRE.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("kernel name %q: must be at most 63 of a-z, 0-9, '-' and '.', and begin and end with a letter or digit", name)
	}
	return nil
}

// Get returns the kernel of that name; "" means DefaultName. If there is none,
// the error wraps ErrNotInstalled.
func (s *Store) Get(name string) (Kernel, error) {
	if name == "" {
		name = DefaultName
	}
	if err := checkName(name); err != nil {
		return Kernel{}, err
	}
	var rec record
	err := state.ReadJSON(filepath.Join(s.dir, name, recordFile), &rec)
	if errors.Is(err, fs.ErrNotExist) {
		return Kernel{}, notInstalled(name)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %q: %w", name, err)
	}
	k, err := s.kernel(name, rec)
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %q: %w", name, err)
	}
	return k, nil
}

// kernel turns a record into what callers see, after a look at the files.
func (s *Store) kernel(name string, rec record) (Kernel, error) {
	if rec.FormatVersion != recordVersion {
		return Kernel{}, fmt.Errorf("%s has format %d, this program knows %d: install the kernel again",
			recordFile, rec.FormatVersion, recordVersion)
	}
	if rec.Dir == "" || !filepath.IsLocal(rec.Dir) {
		return Kernel{}, fmt.Errorf("%s names no directory of its own: install the kernel again", recordFile)
	}
	dir, err := filepath.Abs(filepath.Join(s.dir, name, rec.Dir))
	if err != nil {
		return Kernel{}, err
	}
	k := Kernel{
		Name: name, Version: rec.Version, Arch: rec.Arch, Source: rec.Source, InstalledAt: rec.InstalledAt,
		Image: filepath.Join(dir, imageFile),
	}
	if rec.VMLinux {
		k.VMLinux = filepath.Join(dir, vmlinuxFile)
	}
	if rec.Modules {
		k.ModulesDir = filepath.Join(dir, modulesDir)
	}
	for _, p := range []string{k.Image, k.VMLinux, k.ModulesDir} {
		if p == "" {
			continue
		}
		if _, err := os.Stat(p); err != nil {
			return Kernel{}, fmt.Errorf("its files are damaged (%w): install it again", err)
		}
	}
	return k, nil
}

// installCommand is what a message tells the user to run.
func installCommand(name string) string {
	if name == DefaultName {
		return "vzctl kernel install"
	}
	return "vzctl kernel install --name " + name
}

type notInstalledError struct{ name string }

func notInstalled(name string) error { return &notInstalledError{name} }

func (e *notInstalledError) Error() string {
	return fmt.Sprintf("kernel %q is not installed; run %q", e.name, installCommand(e.name))
}

func (e *notInstalledError) Unwrap() error { return ErrNotInstalled }

// List returns the installed kernels by name. Kernels that cannot be read are
// left out and reported by the error, beside those that can.
func (s *Store) List() ([]Kernel, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	var (
		kernels []Kernel
		errs    []error
	)
	for _, e := range entries {
		if !e.IsDir() || checkName(e.Name()) != nil {
			continue
		}
		k, err := s.Get(e.Name())
		switch {
		case errors.Is(err, ErrNotInstalled):
		case err != nil:
			errs = append(errs, err)
		default:
			kernels = append(kernels, k)
		}
	}
	return kernels, errors.Join(errs...)
}
