package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// runtimes are the reconciler's Runtimes: plugins that are installed.
type runtimes struct {
	loader   *plugins.Loader
	launcher *plugins.Launcher
	log      *slog.Logger

	mu sync.Mutex
	// told holds the versions of the runtimes that were logged as usable.
	told map[string]string
}

func (r *runtimes) Launch(ctx context.Context, runtime, bundle string) (reconciler.Instance, error) {
	p, err := r.loader.Find(plugins.KindRuntime, runtime)
	if err != nil {
		return nil, err
	}
	i, err := r.launcher.Launch(ctx, p, bundle)
	if err != nil {
		return nil, err
	}
	return instance{i}, nil
}

func (r *runtimes) Reattach(ctx context.Context, bundle string) (reconciler.Instance, error) {
	// A record without a process is that of a crash.
	if _, err := os.Stat(filepath.Join(bundle, plugins.ReattachFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no plugin process is on record", drivers.ErrNotFound)
	}
	i, err := r.launcher.Reattach(ctx, bundle)
	if err != nil {
		return nil, err
	}
	return instance{i}, nil
}

func (r *runtimes) CleanUp(ctx context.Context, bundle string, extra ...procfs.ID) error {
	return plugins.CleanUp(ctx, bundle, extra...)
}

func (r *runtimes) Needs(runtime string) (bundle.Needs, error) {
	p, err := r.loader.Find(plugins.KindRuntime, runtime)
	if err != nil {
		return bundle.Needs{}, err
	}
	return bundle.Needs{Image: p.Wants(plugins.NeedImage), Kernel: p.Wants(plugins.NeedKernel)}, nil
}

func (r *runtimes) Info(ctx context.Context, runtime string) (drivers.Info, error) {
	p, err := r.loader.Find(plugins.KindRuntime, runtime)
	if err != nil {
		return drivers.Info{}, err
	}
	return r.launcher.Describe(ctx, p)
}

func (r *runtimes) List(ctx context.Context) ([]reconciler.RuntimeInfo, error) {
	found, problems := r.loader.Load()
	for _, p := range problems {
		r.log.Warn("a plugin is left out", "plugin", p.Path, "error", p.Err)
	}
	var list []reconciler.RuntimeInfo
	for _, p := range found {
		if p.Kind != plugins.KindRuntime {
			continue
		}
		info, err := r.launcher.Probe(ctx, p)
		version := info.Version
		if version == "" {
			version = p.Version
		}
		if err == nil {
			r.tell(p.Name, version, p.Dir)
		}
		list = append(list, reconciler.RuntimeInfo{Name: p.Name, Version: version, Path: p.Dir, Err: err})
	}
	return list, ctx.Err()
}

// tell logs once that a runtime can be used.
func (r *runtimes) tell(name, version, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[name] == version {
		return
	}
	if r.told == nil {
		r.told = map[string]string{}
	}
	r.told[name] = version
	r.log.Info("runtime is usable", "runtime", name, "version", version, "plugin", path)
}

// instance is a plugin process under the reconciler's words.
type instance struct{ *plugins.Instance }

func (i instance) Detach() { i.Release() }
