package kernels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// InstallOptions say where a kernel comes from: one of Deb, Image, URL and Package.
// If all are empty, it is the package that the host's distribution makes for
// virtual machines.
type InstallOptions struct {
	// Name is the name that manifests use; empty means DefaultName. A kernel of
	// that name is replaced.
	Name string
	// Deb is the path of a Debian or Ubuntu kernel package. ModulesDeb is that of
	// the package with its modules, where they are apart (Ubuntu).
	Deb, ModulesDeb string
	// Image is the path of a kernel file; Modules, if not empty, that of a
	// directory such as /lib/modules/VERSION.
	Image, Modules string
	// URL is where a kernel file or a kernel package is, SHA256 its checksum in hex,
	// without which nothing is taken from there.
	URL, SHA256 string
	// Package is the name of a package to download with apt-get. It is unpacked
	// into the store and not installed.
	Package string
	// Progress, if not nil, is told each step, in words for people.
	Progress func(step string)
}

// Install puts a kernel into the store: whole, or not at all.
func (s *Store) Install(ctx context.Context, opts InstallOptions) (Kernel, error) {
	if opts.Name == "" {
		opts.Name = DefaultName
	}
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	k, err := s.install(ctx, opts)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: free some below %s and try again (a kernel takes about 250 MB while it is installed): %w", ErrNoSpace, s.dir, err)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("install kernel %q: %w", opts.Name, err)
	}
	return k, nil
}

func (s *Store) install(ctx context.Context, opts InstallOptions) (Kernel, error) {
	if err := opts.check(); err != nil {
		return Kernel{}, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	temp, err := os.MkdirTemp(s.dir, tempPrefix)
	if err != nil {
		return Kernel{}, err
	}
	defer os.RemoveAll(temp)

	st := &stage{ctx: ctx, dir: filepath.Join(temp, "kernel")}
	if err := os.Mkdir(st.dir, state.DirMode); err != nil {
		return Kernel{}, err
	}
	source, err := st.fill(opts, filepath.Join(temp, "download"))
	if err != nil {
		return Kernel{}, err
	}
	version, err := st.finish()
	if err != nil {
		return Kernel{}, err
	}
	return s.commit(st, opts.Name, record{
		FormatVersion: recordVersion, Version: version, Arch: st.img.arch, Source: source,
		VMLinux: st.vmlinux, Modules: st.modules > 0, InstalledAt: time.Now().UTC().Truncate(time.Second),
	})
}

func (o *InstallOptions) check() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	sources := 0
	for _, v := range []string{o.Deb, o.Image, o.URL, o.Package} {
		if v != "" {
			sources++
		}
	}
	switch {
	case sources > 1:
		return errors.New("give one of a package file, an image, a URL and a package name")
	case o.ModulesDeb != "" && o.Deb == "":
		return errors.New("a modules package goes with a kernel package file")
	case o.Modules != "" && o.Image == "":
		return errors.New("a modules directory goes with an image")
	}
	return o.checkURL()
}

// fill puts the kernel's files into the stage and says where they came from.
func (st *stage) fill(opts InstallOptions, downloadDir string) (source string, err error) {
	switch {
	case opts.Image != "":
		opts.Progress("Reading " + opts.Image)
		f, err := os.Open(opts.Image)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if err := st.addImage(f); err != nil {
			return "", fmt.Errorf("%s: %w", opts.Image, err)
		}
		if opts.Modules == "" {
			return opts.Image, nil
		}
		opts.Progress("Reading " + opts.Modules)
		return opts.Image, st.addModulesDir(opts.Modules)
	case opts.Deb != "":
		return opts.Deb, st.addDebs(opts, opts.Deb, opts.ModulesDeb)
	case opts.URL != "":
		file, err := download(st.ctx, opts, downloadDir)
		if err != nil {
			return "", err
		}
		if err := st.addDownload(opts, file); err != nil {
			return "", fmt.Errorf("%s: %w", redacted(opts.URL), err)
		}
		return redacted(opts.URL), nil
	}
	p, err := fetch(st.ctx, opts, downloadDir)
	if err != nil {
		return "", err
	}
	return "package " + p.name, st.addDebs(opts, p.files...)
}

func (st *stage) addDebs(opts InstallOptions, files ...string) error {
	for _, f := range files {
		if f == "" {
			continue
		}
		opts.Progress("Unpacking " + filepath.Base(f))
		if err := st.addDeb(f); err != nil {
			return err
		}
	}
	return nil
}

// commit makes the stage durable, moves it to its final place and switches the
// kernel's record to it.
func (s *Store) commit(st *stage, name string, rec record) (Kernel, error) {
	id, err := digest(st.dir)
	if err != nil {
		return Kernel{}, err
	}
	rec.Dir = rec.Version + "-" + id
	if err := syncTree(st.dir); err != nil {
		return Kernel{}, err
	}
	home := filepath.Join(s.dir, name)
	if err := state.MkdirAll(home); err != nil {
		return Kernel{}, err
	}
	final := filepath.Join(home, rec.Dir)
	err = os.Rename(st.dir, final)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		// The same content is there already, and perhaps in use: it stays, unless it
		// has been damaged since.
		if has, derr := digest(final); derr == nil && has == id {
			err = nil
		} else if err = os.Rename(final, filepath.Join(filepath.Dir(st.dir), "damaged")); err == nil {
			err = os.Rename(st.dir, final)
		}
	}
	if err != nil {
		return Kernel{}, err
	}
	if err := state.SyncDir(home); err != nil {
		return Kernel{}, err
	}
	if err := state.WriteJSON(filepath.Join(home, recordFile), rec); err != nil {
		return Kernel{}, err
	}
	return s.kernel(name, rec)
}

// syncTree makes a directory's files durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(p) //nolint:gosec // in our own directory
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}
