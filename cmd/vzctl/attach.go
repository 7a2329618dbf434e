package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) attachCmd() *cobra.Command {
	var (
		sel            selection
		start          api.AttachStart
		stdin, noStdin bool
		keys           string
	)
	cmd := &cobra.Command{
		Use:   "attach NAME",
		Short: "Connect to what a container runs",
		Long: `Connect to the first process of a container: what it prints from now on comes here,
and standard input goes there if the manifest has "stdin: true" for it. Ends with
the process's exit code. Without standard input Ctrl-C ends the connection only;
from a terminal, the keys of --detach-keys do.`,
		Example: `  vzctl attach web
  vzctl attach shell -c main
  vzctl attach shell --no-stdin`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSandbox,
		RunE: func(cmd *cobra.Command, args []string) error {
			if stdin && noStdin {
				return usagef("--stdin or --no-stdin, not both")
			}
			ref, err := parseSandbox(args[0], sel.namespace)
			if err != nil {
				return err
			}
			detach, err := parseDetachKeys(keys)
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			o, err := getSandbox(cmd.Context(), client, ref)
			if err != nil {
				return err
			}
			c := o.containerSpec(start.GetContainer())
			start.Object = ref
			start.Stdin = stdin || c.Stdin && !noStdin
			status, err := a.attach(cmd.Context(), client, &start, c.TTY, detach, a.stdout, a.stderr)
			if errors.Is(err, errDetached) {
				return nil
			}
			if err != nil {
				return err
			}
			if status.Code != 0 {
				return exitError(status.Code)
			}
			return nil
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().StringVarP(&start.Container, "container", "c", "", "container to connect to (default the annotated one, else the first)")
	cmd.Flags().BoolVarP(&stdin, "stdin", "i", false, "pass standard input on, or fail if the container takes none")
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "do not pass standard input on")
	cmd.Flags().StringVar(&keys, "detach-keys", defaultDetachKeys, "keys that leave a terminal, and what runs on it running")
	return cmd
}

// containerSpec returns a container as its manifest has it; an empty name is the
// first's. Of one that is not there it is empty: the daemon says so.
func (o *object) containerSpec(name string) corev1.Container {
	s := o.sandbox()
	if s == nil {
		return corev1.Container{}
	}
	for _, c := range s.Spec.PodTemplate.Spec.Containers {
		if name == "" || c.Name == name {
			return c
		}
	}
	return corev1.Container{}
}

// defaultDetachKeys are docker's.
const defaultDetachKeys = "ctrl-p,ctrl-q"

// errDetached means that the user has left, and nothing else has ended.
var errDetached = errors.New("detached")

// attach connects to a container's process until it exits. With tty the user's
// terminal is the process's, if input goes there. Signals are the process's too
// then; otherwise they end the connection.
// Typing the keys ends it with errDetached.
func (a *app) attach(ctx context.Context, client *api.Client, start *api.AttachStart, tty bool, keys []byte, stdout, stderr io.Writer) (drivers.ExitStatus, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdio := drivers.Stdio{Stdout: stdout, Stderr: stderr}
	if start.GetStdin() {
		a.stopSignals()
		signals, stop := forwardSignals(func() { cancel(nil) })
		defer stop()
		stdio.Stdin, stdio.Signals = a.stdin, signals
		if tty && len(keys) > 0 {
			stdio.Stdin = &detachReader{r: a.stdin, keys: keys, left: func() { cancel(errDetached) }}
		}
	}
	if tty {
		t, err := openTerminal(a.stdin, a.stdout, start.GetStdin())
		if err != nil {
			return drivers.ExitStatus{}, err
		}
		defer t.restore()
		stdio.Resize = sizesFrom(ctx, t)
	}
	status, err := client.Attach(ctx, start, stdio)
	if errors.Is(context.Cause(ctx), errDetached) {
		fmt.Fprint(a.stderr, "\r\n") // the terminal is still raw, its cursor behind a prompt
		return status, errDetached
	}
	if errors.Is(err, context.Canceled) {
		return status, exitError(exitInterrupted)
	}
	return status, err
}

// sizesFrom tells the terminal's size now, and whenever it changes.
func sizesFrom(ctx context.Context, t *terminal) <-chan drivers.TerminalSize {
	changes := t.resizes()
	if changes == nil {
		return nil
	}
	sizes := make(chan drivers.TerminalSize, 1)
	sizes <- t.size()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case size := <-changes:
				select {
				case sizes <- size:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return sizes
}
