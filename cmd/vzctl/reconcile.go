package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) reconcileCmd() *cobra.Command {
	g := group("reconcile", "Suspend, resume and hasten the following of manifests", `  vzctl reconcile suspend sandbox web
  vzctl reconcile resume --all
  vzctl reconcile now`,
		a.reconcileSuspendCmd(), a.reconcileResumeCmd(), a.reconcileNowCmd())
	g.Long = `Suspend, resume and hasten the following of manifests. It is not about what runs:
a sandbox's CPUs are stopped by "vzctl pause", its VM by "vzctl stop", or by
operatingMode in its manifest.`
	return g
}

func (a *app) reconcileSuspendCmd() *cobra.Command {
	return a.reconcileVerb(&cobra.Command{
		Use:   "suspend NAME… | KIND NAME… | KIND/NAME… | -l SELECTOR | --all",
		Short: "Stop following manifests, until resume",
		Long: `Stop following the manifests of sandboxes: no edit is applied, no removal happens,
across restarts of the daemon, until resume. What runs is looked after as before,
and "vzctl delete" still removes. Synced is False with the reason Suspended. With
--all, it is the daemon that stops following any manifest; sandboxes that are
suspended by name stay so when that ends.`,
		Example: `  vzctl reconcile suspend sandbox web
  vzctl reconcile suspend -l app=web
  vzctl reconcile suspend --all`,
	}, "suspended", func(ctx context.Context, client *api.Client, ref *api.Ref) error {
		_, err := client.SuspendReconciling(ctx, &api.SuspendReconcilingRequest{Object: ref})
		return err
	})
}

func (a *app) reconcileResumeCmd() *cobra.Command {
	return a.reconcileVerb(&cobra.Command{
		Use:   "resume NAME… | KIND NAME… | KIND/NAME… | -l SELECTOR | --all",
		Short: "Follow manifests again",
		Long: `Follow manifests again, which takes in at once what changed meanwhile: vzctl diff
-f shows beforehand what that is.`,
		Example: `  vzctl reconcile resume sandbox web
  vzctl reconcile resume --all`,
	}, "resumed", func(ctx context.Context, client *api.Client, ref *api.Ref) error {
		_, err := client.ResumeReconciling(ctx, &api.ResumeReconcilingRequest{Object: ref})
		return err
	})
}

func (a *app) reconcileNowCmd() *cobra.Command {
	return a.reconcileVerb(&cobra.Command{
		Use:   "now [NAME… | KIND NAME… | KIND/NAME… | -l SELECTOR]",
		Short: "Look at the manifests now, and try again what failed",
		Long: `Look at the manifests now, and try again at once what failed and waits for its
next try: of the sandboxes named, else of all.`,
		Example: `  vzctl reconcile now
  vzctl reconcile now sandbox web`,
	}, "reconciled", func(ctx context.Context, client *api.Client, ref *api.Ref) error {
		_, err := client.ReconcileNow(ctx, &api.ReconcileNowRequest{Object: ref})
		return err
	})
}

// reconcileVerb is a verb about some sandboxes, or about all: then do is given no
// reference.
func (a *app) reconcileVerb(cmd *cobra.Command, done string, do func(context.Context, *api.Client, *api.Ref) error) *cobra.Command {
	var sel selection
	cmd.ValidArgsFunction = a.completeObjects
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		whole := sel.all || cmd.Name() == "now" && len(args) == 0 && !sel.selects()
		reqs, err := sel.requests(args, true)
		switch {
		case err != nil:
			return err
		case whole && (len(args) > 0 || sel.labels != "" || sel.fields != ""):
			return usagef("--all is the daemon as a whole: name nothing beside it")
		case !whole && len(args) == 0 && !sel.selects():
			return usagef("say which: NAME, KIND NAME, --selector or --all")
		case !whole && len(reqs[0].GetNames()) == 0 && !sel.selects():
			return usagef("say which: NAME, --selector or --all")
		}
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		if whole {
			if err := do(cmd.Context(), client, nil); err != nil {
				return err
			}
			return a.printf("reconciling %s\n", done)
		}
		for _, req := range reqs {
			refs, err := selectRefs(cmd.Context(), client, req)
			if err != nil {
				return err
			}
			if len(refs) == 0 {
				a.sayNoneFound(req)
			}
			for _, ref := range refs {
				if err := do(cmd.Context(), client, ref); err != nil {
					return err
				}
				if err := a.printf("%s %s\n", refName(ref), done); err != nil {
					return err
				}
			}
		}
		return nil
	}
	sel.addFlags(cmd)
	if cmd.Name() != "now" {
		cmd.Flags().BoolVar(&sel.all, "all", false, "the daemon as a whole")
	}
	return cmd
}
