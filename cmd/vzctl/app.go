package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// app is what every verb shares: streams, environment, global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	// stopSignals gives signals back their default effect; exec takes them over.
	stopSignals func()

	stateDir string
	socket   string
	verbose  bool
	// running is set once the command line made sense.
	running bool
}

// run runs one command line and returns vzctl's exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	if err := a.plugin(root, args); err != nil {
		fmt.Fprintf(a.stderr, "vzctl: %v\n", err)
		return exitCannotRun
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.running {
		err = &usageError{err}
	}
	code := exitCode(ctx, err)
	var exit exitError
	if err == nil || errors.As(err, &exit) || code == exitInterrupted {
		return code
	}
	fmt.Fprintf(a.stderr, "vzctl: %v\n", err)
	if code == exitUsage {
		fmt.Fprintf(a.stderr, "See '%s --help'.\n", cmd.CommandPath())
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "vzctl",
		Short: "Show and control the sandboxes of vzreconciler",
		Long: `vzctl shows and controls what the vzreconciler daemon runs: one lightweight
Linux VM for each sandbox that its manifests ask for, from folders and from Git.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 daemon unreachable,
5 timed out; exec and run pass on the process's own.

A verb that vzctl does not have is looked for among the plugins of kind cli, and
then as the program vzctl-VERB on PATH.`,
		Example: `  vzctl get sandboxes
  vzctl describe web
  vzctl exec -it web -- sh
  vzctl run --rm docker.io/library/alpine:3 uname -a
  vzctl diff -f manifests/`,
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("vzctl {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVar(&a.stateDir, "state-dir", "", "state directory of the daemon (default $VZ_STATE_DIR, else the user's data directory)")
	flags.StringVar(&a.socket, "socket", "", "control socket of the daemon (default the state directory's)")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more about what is done")

	root.AddGroup(
		&cobra.Group{ID: groupDeclare, Title: "Declare and look:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
		&cobra.Group{ID: groupThings, Title: "Images, networks, volumes, kernels and plugins:"},
		&cobra.Group{ID: groupHost, Title: "Host:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupDeclare, a.getCmd(), a.describeCmd(), a.treeCmd(), a.applyCmd(), a.editCmd(), a.diffCmd(), a.deleteCmd())
	add(groupDeclare, a.validateCmd(), a.explainCmd(), a.waitCmd(), a.eventsCmd(), a.pruneCmd(), a.reconcileCmd())
	add(groupDeclare, a.scaleCmd(), a.rolloutCmd())
	add(groupOperate, a.runCmd(), a.execCmd(), a.attachCmd(), a.cpCmd(), a.exportCmd(), a.logsCmd(), a.statsCmd(), a.stopCmd(), a.startCmd(), a.restartCmd())
	add(groupOperate, a.dialCmd(), a.portForwardCmd(), a.pauseCmd(), a.resumeCmd(), a.killCmd())
	add(groupThings, a.imageCmd(), a.registryCmd(), a.volumeCmd(), a.networkCmd(), a.kernelCmd(), a.pluginCmd())
	add(groupHost, a.serviceCmd(), a.systemCmd(), a.completionCmd())
	root.SetHelpCommandGroupID(groupHost)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		help(cmd, args)
		if cmd == root {
			a.helpOfPlugins(root)
		}
	})
	a.markRunning(root)
	return root
}

const (
	groupDeclare = "declare"
	groupOperate = "operate"
	groupThings  = "things"
	groupHost    = "host"
)

// group makes a command that only holds others.
func group(use, short, example string, cmds ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Example: example,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	g.AddCommand(cmds...)
	return g
}

// markRunning tells errors of the command line from those of the commands:
// cobra reports the former before it calls RunE.
func (a *app) markRunning(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.running = true
			return run(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		a.markRunning(c)
	}
}

// state returns the daemon's state directory.
func (a *app) state() (bundle.StateDir, error) {
	if a.stateDir == "" {
		return bundle.DefaultStateDir()
	}
	dir, err := filepath.Abs(a.stateDir)
	return bundle.StateDir(dir), err
}

// dial connects to the daemon.
func (a *app) dial(ctx context.Context) (*api.Client, error) {
	socket := a.socket
	if socket == "" {
		dir, err := a.state()
		if err != nil {
			return nil, err
		}
		socket = dir.ControlSocket()
	}
	a.logf("connecting to %s", socket)
	return api.Dial(ctx, socket)
}

// logf tells what is done, with --verbose.
func (a *app) logf(format string, args ...any) {
	if a.verbose {
		fmt.Fprintf(a.stderr, "vzctl: "+format+"\n", args...)
	}
}

// printf writes a line of the answer.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// table returns a table on stdout.
func (a *app) table() *printer.Table {
	return printer.NewTable(a.stdout, printer.WantsColor(a.stdout, a.getenv))
}
