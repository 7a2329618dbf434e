package main

import (
	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

func (a *app) killCmd() *cobra.Command {
	var (
		sel       selection
		signal    string
		container string
	)
	cmd := &cobra.Command{
		Use:   "kill NAME…",
		Short: "Send a signal to a container's first process",
		Long: `Send a signal, KILL unless --signal names another, to the first process of a
container. What follows its end is up to the restart policy: to end a sandbox for
good use stop. As the first process, it is hurt only by KILL and by signals for
which it has a handler.`,
		Example: `  vzctl kill web
  vzctl kill web -s HUP
  vzctl kill web -c nginx --signal 10`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeSandboxes,
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := parseSandboxes(args, sel.namespace)
			if err != nil {
				return err
			}
			number, err := bundle.SignalNumber(signal)
			if err != nil || number == 0 {
				return usagef("--signal=%s: want a signal as TERM or 15", signal)
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			for _, ref := range refs {
				req := &api.KillRequest{Object: ref, Container: container, Signal: int32(number)} //nolint:gosec // at most 64
				if _, err := client.Kill(cmd.Context(), req); err != nil {
					return err
				}
				if err := a.printf("%s signalled\n", refName(ref)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().StringVarP(&signal, "signal", "s", "KILL", "signal to send, by name or number")
	cmd.Flags().StringVarP(&container, "container", "c", "", "container whose process it is (default the annotated one, else the first)")
	return cmd
}
