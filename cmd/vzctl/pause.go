package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) pauseCmd() *cobra.Command {
	return a.holdCmd(&cobra.Command{
		Use:   "pause NAME…",
		Short: "Stop the CPUs of sandboxes and hold them until resume",
		Long: `Stop the CPUs of sandboxes: what runs in them stands still and keeps its memory.
They stay so, across restarts of the daemon, until resume, start or restart. The
manifest is not changed.`,
		Example: `  vzctl pause web
  vzctl pause web db --wait=false`,
	}, hold{
		ask: func(ctx context.Context, client *api.Client, ref *api.Ref) error {
			_, err := client.Pause(ctx, &api.PauseRequest{Object: ref})
			return err
		},
		what: "to pause", done: "paused", met: isPaused, vain: hasEnded,
	})
}

func (a *app) resumeCmd() *cobra.Command {
	return a.holdCmd(&cobra.Command{
		Use:   "resume NAME…",
		Short: "Let paused sandboxes run again",
		Long: `Let paused sandboxes run again, with their clocks set. It has no effect on a
sandbox that is not paused. Manifests that are not followed are
"vzctl reconcile resume"'s.`,
		Example: `  vzctl resume web
  vzctl resume web db --wait=false`,
	}, hold{
		ask: func(ctx context.Context, client *api.Client, ref *api.Ref) error {
			_, err := client.Resume(ctx, &api.ResumeRequest{Object: ref})
			return err
		},
		what: "to resume", done: "resumed", met: func(o *object) bool { return !isPaused(o) },
	})
}

// hold is what a verb asks of each sandbox, and waits for.
type hold struct {
	ask        func(context.Context, *api.Client, *api.Ref) error
	what, done string
	met, vain  func(*object) bool
}

func (a *app) holdCmd(cmd *cobra.Command, h hold) *cobra.Command {
	var (
		sel  selection
		wait waitFlags
	)
	cmd.Args, cmd.ValidArgsFunction = cobra.MinimumNArgs(1), a.completeSandboxes
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		refs, err := parseSandboxes(args, sel.namespace)
		if err != nil {
			return err
		}
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		for _, ref := range refs {
			if err := h.ask(cmd.Context(), client, ref); err != nil {
				return err
			}
		}
		for _, ref := range refs {
			if wait.wait {
				w := waiter{client: client, what: refName(ref) + " " + h.what, met: h.met, vain: h.vain}
				if err := wait.until(cmd.Context(), &w, ref); err != nil {
					return err
				}
			}
			if err := a.printf("%s %s\n", refName(ref), h.done); err != nil {
				return err
			}
		}
		return nil
	}
	sel.addNamespace(cmd)
	wait.add(cmd, time.Minute)
	return cmd
}

func isPaused(o *object) bool { return o.Status.Phase == manifests.PhasePaused }

// hasEnded reports whether a sandbox ran to its end: it will not be paused.
func hasEnded(o *object) bool {
	return o.Status.Phase == manifests.PhaseSucceeded || o.Status.Phase == manifests.PhaseFailed
}
