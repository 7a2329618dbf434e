package main

import (
	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) pruneCmd() *cobra.Command {
	var confirm bool
	cmd := &cobra.Command{
		Use:   "prune [--confirm]",
		Short: "Show removals that are held, and let them go on",
		Long: `When more manifests vanish at once than the daemon's --max-prune allows, their
sandboxes are kept until somebody confirms that this was meant. A sandbox whose
manifest had the annotation vzreconciler.dev/prune: disabled is not held but kept:
"vzctl delete" removes it.`,
		Example: `  vzctl prune
  vzctl prune --confirm`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			if confirm {
				resp, err := client.ConfirmPrune(cmd.Context(), &api.ConfirmPruneRequest{})
				if err != nil {
					return err
				}
				if len(resp.GetPruned()) == 0 {
					return a.printf("No removal is held.\n")
				}
				return a.printLines(resp.GetPruned(), " is being removed")
			}
			status, err := client.Status(cmd.Context(), &api.StatusRequest{})
			if err != nil {
				return err
			}
			if len(status.GetPruneHeld()) == 0 {
				return a.printf("No removal is held.\n")
			}
			if err := a.printLines(status.GetPruneHeld(), ""); err != nil {
				return err
			}
			return a.printf("Their manifests are gone. Remove them with: vzctl prune --confirm\n")
		},
	}
	cmd.Flags().BoolVar(&confirm, "confirm", false, "remove what is held")
	return cmd
}

func (a *app) printLines(lines []string, suffix string) error {
	for _, line := range lines {
		if err := a.printf("%s%s\n", printer.Sanitize(line), suffix); err != nil {
			return err
		}
	}
	return nil
}
