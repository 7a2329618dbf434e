package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler"
)

// networkPlugin is the name of the network plugin that is used.
const networkPlugin = "switch"

// networks are the reconciler's Networks: processes of the network plugin.
type networks struct {
	loader   *plugins.Loader
	launcher *plugins.Launcher
}

func (n *networks) Launch(ctx context.Context, dir string) (reconciler.NetworkInstance, error) {
	p, err := n.loader.Find(plugins.KindNetwork, networkPlugin)
	if err != nil {
		return nil, err
	}
	i, err := n.launcher.LaunchNetwork(ctx, p, dir)
	if err != nil {
		return nil, err
	}
	return networkInstance{i}, nil
}

func (n *networks) Reattach(ctx context.Context, dir string) (reconciler.NetworkInstance, error) {
	if _, err := os.Stat(filepath.Join(dir, plugins.ReattachFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no process of the network is on record", drivers.ErrNotFound)
	}
	i, err := n.launcher.ReattachNetwork(ctx, dir)
	if err != nil {
		return nil, err
	}
	return networkInstance{i}, nil
}

func (n *networks) CleanUp(ctx context.Context, dir string) error { return plugins.CleanUp(ctx, dir) }

// networkInstance is a network's process under the reconciler's words.
type networkInstance struct{ *plugins.NetworkInstance }

func (i networkInstance) Detach() { i.Release() }
