package main

import (
	"time"

	"github.com/spf13/cobra"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) startCmd() *cobra.Command {
	var (
		sel  selection
		wait waitFlags
	)
	cmd := &cobra.Command{
		Use:   "start NAME…",
		Short: "Let stopped sandboxes run again",
		Example: `  vzctl start web
  vzctl start web db --wait=false`,
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
				if _, err := client.Start(cmd.Context(), &api.StartRequest{Object: ref}); err != nil {
					return err
				}
			}
			for _, ref := range refs {
				if wait.wait {
					w := waiter{client: client, what: refName(ref) + " to be ready", met: isUp, vain: hasFailed}
					if err := wait.until(cmd.Context(), &w, ref); err != nil {
						return err
					}
				}
				if err := a.printf("%s started\n", refName(ref)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	sel.addNamespace(cmd)
	wait.add(cmd, 5*time.Minute)
	return cmd
}

// hasFailed reports whether a sandbox ran to its end, and that was a failure:
// nothing more happens by itself.
func hasFailed(o *object) bool { return o.Status.Phase == manifests.PhaseFailed }

// isUp reports whether a sandbox is ready, or ran to its end already.
func isUp(o *object) bool {
	return o.conditionIs(manifests.ConditionReady, metav1.ConditionTrue) || o.Status.Phase == manifests.PhaseSucceeded
}
