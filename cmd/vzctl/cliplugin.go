package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// plugin becomes the plugin that a command line means, as kubectl and git do. It
// returns if it means none: a verb of vzctl's own, or nothing that there is.
func (a *app) plugin(root *cobra.Command, args []string) error {
	name, rest := a.verb(root, args)
	if name == "" || builtIn(root, name) {
		return nil
	}
	l, err := a.loader(nil)
	if err != nil {
		return err
	}
	program, first, err := l.FindCLI(name)
	if errors.Is(err, drivers.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	env := os.Environ()
	if a.stateDir != "" {
		dir, err := a.state()
		if err != nil {
			return err
		}
		env = append(env, bundle.StateDirEnv+"="+string(dir))
	}
	a.logf("running %s", program)
	// It takes this process's place: its signals and its exit code are its own.
	err = syscall.Exec(program, slices.Concat([]string{program}, first, rest), env) //nolint:gosec // what the user asked for
	return fmt.Errorf("run %s: %w", program, err)
}

// verb returns the first word that is no flag of vzctl's own, and all behind it.
func (a *app) verb(root *cobra.Command, args []string) (name string, rest []string) {
	flags := root.PersistentFlags()
	flags.SetInterspersed(false)
	defer flags.SetInterspersed(true)
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		return "", nil // cobra says what is wrong
	}
	return flags.Arg(0), flags.Args()[1:]
}

// builtIn reports whether vzctl has a verb of this name.
func builtIn(root *cobra.Command, name string) bool {
	return slices.Contains([]string{"help", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, name) ||
		slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
}

// helpOfPlugins lists the verbs that plugins add.
func (a *app) helpOfPlugins(root *cobra.Command) {
	l, err := a.loader(nil)
	if err != nil {
		return
	}
	table := a.table()
	begun := false
	for _, v := range l.CLIs() {
		if builtIn(root, v.Name) {
			continue
		}
		if !begun {
			fmt.Fprintln(a.stdout, "\nPlugins:")
			begun = true
		}
		_ = table.Write([]printer.Cell{{Text: "  " + v.Name}, {Text: v.Abstract}})
	}
}

// listCLIs lists the plugins of kind cli that are only programs on PATH, and
// marks those that can never run: vzctl has a verb of their name.
func listCLIs(root *cobra.Command, l *plugins.Loader, list []listedPlugin) []listedPlugin {
	for _, v := range l.CLIs() {
		if v.Manifest {
			continue
		}
		list = append(list, listedPlugin{
			Name: v.Name, Kind: plugins.KindCLI, Status: pluginReady, Path: v.Path, Sandboxes: []string{},
		})
	}
	for i := range list {
		if list[i].Kind == plugins.KindCLI && builtIn(root, list[i].Name) {
			list[i].Status, list[i].Message = pluginShadowed, "vzctl has a verb of this name"
		}
	}
	return list
}
