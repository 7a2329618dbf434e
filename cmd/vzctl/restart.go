package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) restartCmd() *cobra.Command {
	var (
		sel  selection
		wait waitFlags
	)
	cmd := &cobra.Command{
		Use:   "restart NAME…",
		Short: "End sandboxes and start them again, with their disks",
		Example: `  vzctl restart web
  vzctl restart web db --wait=false`,
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
				if err := a.restart(cmd.Context(), client, ref, wait); err != nil {
					return err
				}
				if err := a.printf("%s restarted\n", refName(ref)); err != nil {
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

func (a *app) restart(ctx context.Context, client *api.Client, ref *api.Ref, wait waitFlags) error {
	before, err := getSandbox(ctx, client, ref)
	if err != nil {
		return err
	}
	if _, err := client.Restart(ctx, &api.RestartRequest{Object: ref}); err != nil {
		return err
	}
	if !wait.wait {
		return nil
	}
	// The status of before may be seen for a moment more.
	old := incarnation(&before)
	w := waiter{client: client, what: refName(ref) + " to be ready again", met: func(o *object) bool {
		return isUp(o) && incarnation(o) != old
	}, vain: hasFailed}
	return wait.until(ctx, &w, ref)
}

func getSandbox(ctx context.Context, client *api.Client, ref *api.Ref) (object, error) {
	resp, err := client.Get(ctx, &api.GetRequest{Kind: "sandbox", Namespace: ref.GetNamespace(), Names: []string{ref.GetName()}})
	if err != nil {
		return object{}, err
	}
	objects, err := decodeObjects(resp.GetObjects())
	if err != nil || len(objects) == 0 {
		return object{}, err
	}
	return objects[0], nil
}

// incarnation tells one start of a sandbox's VM from another.
func incarnation(o *object) (id struct {
	start              int64
	plugin, hypervisor int
	bootID             string
}) {
	if t := o.Status.StartTime; t != nil {
		id.start = t.Unix()
	}
	if r := o.Status.Runtime; r != nil {
		id.plugin, id.hypervisor, id.bootID = r.PluginPID, r.HypervisorPID, r.BootID
	}
	return id
}
