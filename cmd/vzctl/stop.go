package main

import (
	"time"

	"github.com/spf13/cobra"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) stopCmd() *cobra.Command {
	var (
		sel   selection
		grace time.Duration
		wait  waitFlags
	)
	cmd := &cobra.Command{
		Use:   "stop NAME…",
		Short: "End sandboxes and hold them stopped until start",
		Example: `  vzctl stop web
  vzctl stop web db --grace-period=30s`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeSandboxes,
		RunE: func(cmd *cobra.Command, args []string) error {
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
				req := &api.StopRequest{Object: ref}
				if cmd.Flags().Changed("grace-period") {
					req.GracePeriod = durationpb.New(grace)
				}
				if _, err := client.Stop(cmd.Context(), req); err != nil {
					return err
				}
			}
			for _, ref := range refs {
				if wait.wait {
					w := waiter{client: client, what: refName(ref) + " to stop", met: isDown}
					if err := wait.until(cmd.Context(), &w, ref); err != nil {
						return err
					}
				}
				if err := a.printf("%s stopped\n", refName(ref)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().DurationVar(&grace, "grace-period", 0, "how long its processes have to end (default the manifest's)")
	wait.add(cmd, 5*time.Minute)
	return cmd
}

func isDown(o *object) bool {
	switch o.Status.Phase {
	case manifests.PhaseStopped, manifests.PhaseSucceeded, manifests.PhaseFailed:
		return true
	}
	return false
}
