package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) execCmd() *cobra.Command {
	var (
		sel   selection
		start api.ExecStart
		env   []string
		keys  string
	)
	cmd := &cobra.Command{
		Use:   "exec [-i] [-t] NAME -- COMMAND [ARG…]",
		Short: "Run a command in a sandbox",
		Long: `Run a command in a container of a sandbox, with its standard streams here, and
end with its exit code: 127 if there is no such command, 126 if it cannot be run.
sandboxclaim/NAME is the sandbox that a claim has.`,
		Example: `  vzctl exec web -- ps aux
  vzctl exec -it web -- sh
  vzctl exec -it sandboxclaim/alice -- sh
  tar c . | vzctl exec -i web -c nginx -- tar x -C /srv`,
		ValidArgsFunction: a.completeSandbox,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); len(args) > 0 && dash != 1 && dash != -1 {
				return usagef("give one sandbox before --")
			}
			if len(args) < 2 {
				return usagef("say in which sandbox to run what: NAME -- COMMAND [ARG…]")
			}
			ref, err := parseSandbox(args[0], sel.namespace)
			if err != nil {
				return err
			}
			detach, err := parseDetachKeys(keys)
			if err != nil {
				return err
			}
			start.Object, start.Args = ref, args[1:]
			for _, e := range env {
				name, value, ok := strings.Cut(e, "=")
				if !ok {
					value = a.getenv(name)
				}
				start.Env = append(start.Env, &wire.EnvVar{Name: name, Value: value})
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.exec(cmd.Context(), client, &start, detach)
		},
	}
	sel.addNamespace(cmd)
	f := cmd.Flags()
	f.BoolVarP(&start.Stdin, "stdin", "i", false, "pass standard input on")
	f.BoolVarP(&start.Terminal, "tty", "t", false, "give the command a terminal")
	f.StringVarP(&start.Container, "container", "c", "", "container to run it in (default the annotated one, else the first)")
	f.StringArrayVarP(&env, "env", "e", nil, "NAME=VALUE for its environment, or NAME to pass on one's own; may be repeated")
	f.StringVarP(&start.User, "user", "u", "", "user to run it as: NAME or UID, with :GROUP if wanted (default the container's)")
	f.StringVar(&keys, "detach-keys", "", "keys that end the command and leave it, as ctrl-p,ctrl-q (default none)")
	f.StringVarP(&start.WorkingDir, "workdir", "w", "", "directory to run it in (default the container's)")
	return cmd
}

func (a *app) exec(ctx context.Context, client *api.Client, start *api.ExecStart, detach []byte) error {
	// Signals are for the command from here on.
	a.stopSignals()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals, stop := forwardSignals(cancel)
	defer stop()

	stdio := drivers.Stdio{Stdout: a.stdout, Stderr: a.stderr, Signals: signals}
	if start.GetStdin() {
		stdio.Stdin = a.stdin
	}
	var detached atomic.Bool
	if stdio.Stdin != nil && start.GetTerminal() && len(detach) > 0 {
		stdio.Stdin = &detachReader{r: a.stdin, keys: detach, left: func() {
			detached.Store(true)
			cancel()
		}}
	}
	if start.GetTerminal() {
		t, err := openTerminal(a.stdin, a.stdout, start.GetStdin())
		if err != nil {
			return err
		}
		defer t.restore()
		start.TerminalSize = wire.FromSize(t.size())
		stdio.Resize = t.resizes()
		if term := a.getenv("TERM"); term != "" {
			start.Env = append([]*wire.EnvVar{{Name: "TERM", Value: term}}, start.Env...)
		}
	}
	status, err := client.Exec(ctx, start, stdio)
	if detached.Load() {
		fmt.Fprint(a.stderr, "\r\n") // the terminal is still raw, its cursor behind a prompt
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return exitError(exitInterrupted) // given up
	}
	if err != nil {
		return cannotRun(ctx, client, start, err)
	}
	if status.OOMKilled {
		a.logf("the command was ended for want of memory")
	}
	if status.Code != 0 {
		return exitError(status.Code)
	}
	return nil
}

// cannotRun gives the failure to run a command the exit code that shells have for
// it, if it is the command's own: the sandbox and its container are there.
func cannotRun(ctx context.Context, client *api.Client, start *api.ExecStart, err error) error {
	var code int
	switch {
	case errors.Is(err, drivers.ErrNotFound):
		code = exitNoCommand
	case errors.Is(err, drivers.ErrInvalidArgument):
		code = exitCannotRun
	default:
		return err
	}
	o, gerr := getSandbox(ctx, client, start.GetObject())
	if gerr != nil || !o.hasContainer(start.GetContainer()) {
		return err
	}
	return &codeError{err, code}
}
