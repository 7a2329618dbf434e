package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/installed"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// pluginDirs are the directories of plugins named on the command line.
type pluginDirs []string

func (d *pluginDirs) addTo(cmd *cobra.Command) {
	cmd.PersistentFlags().StringSliceVar((*[]string)(d), "plugin-dir", nil, "directories of plugins, looked in before the others, as the daemon's flag")
}

// loader finds plugins where the daemon does.
func (a *app) loader(named pluginDirs) (*plugins.Loader, error) {
	dir, err := a.state()
	if err != nil {
		return nil, err
	}
	program, err := installed.Dir()
	if err != nil {
		return nil, err
	}
	dirs := make([]string, len(named))
	for i, d := range named {
		if dirs[i], err = filepath.Abs(d); err != nil {
			return nil, err
		}
	}
	return plugins.NewLoader(plugins.SearchPath(dirs, dir.DataDirs(), program)), nil
}

// launcher returns a launcher of plugins for as long as this command runs.
func launcher() (_ *plugins.Launcher, socketDir string, done func(), err error) {
	// In /tmp, for a socket's path must be short.
	socketDir, err = os.MkdirTemp("/tmp", "vzctl")
	if err != nil {
		return nil, "", nil, fmt.Errorf("make a directory for sockets: %w", err)
	}
	return plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir}), socketDir, func() { _ = os.RemoveAll(socketDir) }, nil
}

// completePlugin completes the name of a plugin, of a runtime alone if runtimes is
// true.
func (a *app) completePlugin(dirs *pluginDirs, runtimes bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		l, err := a.loader(*dirs)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, _ := l.Load()
		var names []cobra.Completion
		for _, p := range found {
			if !runtimes || p.Kind == plugins.KindRuntime {
				names = append(names, cobra.CompletionWithDesc(p.Name, p.Abstract))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
