package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) deleteCmd() *cobra.Command {
	var (
		sel            selection
		paths          []string
		ignoreNotFound bool
		wait           waitFlags
	)
	cmd := &cobra.Command{
		Use:   "delete KIND NAME… | KIND/NAME… | KIND -l SELECTOR | -f FILE",
		Short: "Remove objects from the daemon's folder, and their VMs",
		Long: `Remove objects from the files that the daemon watches: their VMs, processes and
disks go with them. A file that held nothing else is removed. What is named here
goes even if its manifest says vzreconciler.dev/prune: disabled, or is not followed.`,
		Example: `  vzctl delete sandbox web
  vzctl delete sandbox/web configmap/settings
  vzctl delete sandboxes -l app=web
  vzctl delete pods --all --namespace ci
  vzctl delete -f web.yaml --wait=false`,
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			reqs, refs, err := a.deleteWhat(args, paths, &sel)
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			for _, req := range reqs {
				chosen, err := selectRefs(cmd.Context(), client, req)
				if err != nil {
					return err
				}
				if len(chosen) == 0 {
					a.sayNoneFound(req)
				}
				refs = append(refs, chosen...)
			}
			return a.delete(cmd.Context(), client, refs, ignoreNotFound, wait)
		},
	}
	sel.addFlags(cmd)
	cmd.Flags().BoolVar(&sel.all, "all", false, "all objects of the kind")
	addFilenames(cmd, &paths, "delete the objects in this file or directory, or - for standard input; may be repeated")
	cmd.Flags().BoolVar(&ignoreNotFound, "ignore-not-found", false, "an object that is not there is no error")
	wait.add(cmd, 2*time.Minute)
	return cmd
}

// deleteWhat returns the objects that were named, or requests for those that were
// chosen otherwise.
func (a *app) deleteWhat(args, paths []string, sel *selection) ([]*api.GetRequest, []*api.Ref, error) {
	switch {
	case len(paths) > 0 && (len(args) > 0 || sel.selects() || sel.allNamespaces):
		return nil, nil, usagef("name or select objects, or give files that hold them, not both")
	case len(paths) > 0:
		refs, err := a.fileRefs(paths)
		return nil, refs, err
	}
	reqs, err := sel.requests(args, false)
	if err != nil {
		return nil, nil, err
	}
	var refs []*api.Ref
	for _, req := range reqs {
		if len(args) == 0 || len(req.GetNames()) == 0 && !sel.selects() {
			return nil, nil, usagef("say what to delete: KIND NAME, KIND/NAME, KIND -l SELECTOR, KIND --all or -f FILE")
		}
		k, _ := findKind(req.GetKind())
		for _, name := range req.GetNames() {
			refs = append(refs, &api.Ref{Kind: k.key, Namespace: req.GetNamespace(), Name: name})
		}
	}
	if len(refs) > 0 {
		reqs = nil
	}
	return reqs, refs, nil
}

// fileRefs returns the objects that files hold.
func (a *app) fileRefs(paths []string) ([]*api.Ref, error) {
	files, err := a.readManifests(paths)
	if err != nil {
		return nil, err
	}
	objects, err := parseManifests(files)
	if err != nil {
		return nil, err
	}
	refs := make([]*api.Ref, len(objects))
	for i, o := range objects {
		refs[i] = &api.Ref{Kind: o.Key.Kind, Namespace: o.Key.Namespace, Name: o.Key.Name}
	}
	return refs, nil
}

func (a *app) delete(ctx context.Context, client *api.Client, refs []*api.Ref, ignoreNotFound bool, wait waitFlags) error {
	var (
		failed  error
		deleted []*api.Ref
	)
	for _, ref := range refs {
		resp, err := client.Delete(ctx, &api.DeleteRequest{Object: ref})
		switch {
		case errors.Is(err, drivers.ErrNotFound) && ignoreNotFound:
			continue
		case errors.Is(err, api.ErrUnreachable):
			return errors.Join(failed, err)
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		}
		a.logf("%s was in %s", refName(ref), resp.GetFile())
		if err := a.printf("%s deleted\n", refName(ref)); err != nil {
			return err
		}
		if resp.GetFile() != "" { // Else its owner may have made another one already.
			deleted = append(deleted, ref)
		}
	}
	if !wait.wait {
		return failed
	}
	for _, ref := range deleted {
		if (manifests.Key{Kind: ref.GetKind()}).IsConfig() {
			continue
		}
		w := waiter{client: client, what: "its removal", deletion: true}
		if err := wait.until(ctx, &w, ref); err != nil {
			return errors.Join(failed, err)
		}
	}
	return failed
}
