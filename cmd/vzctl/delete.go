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
		Use:   "delete KIND NAME… | KIND/NAME… | -f FILE",
		Short: "Remove objects from the daemon's folder, and their VMs",
		Long: `Remove objects from the files that the daemon watches: their VMs, processes and
disks go with them. A file that held nothing else is removed.`,
		Example: `  vzctl delete sandbox web
  vzctl delete sandbox/web configmap/settings
  vzctl delete -f web.yaml --wait=false`,
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := a.deleteRefs(args, paths, sel.namespace)
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.delete(cmd.Context(), client, refs, ignoreNotFound, wait)
		},
	}
	sel.addNamespace(cmd)
	addFilenames(cmd, &paths, "delete the objects in this file or directory, or - for standard input; may be repeated")
	cmd.Flags().BoolVar(&ignoreNotFound, "ignore-not-found", false, "an object that is not there is no error")
	wait.add(cmd, 2*time.Minute)
	return cmd
}

func (a *app) deleteRefs(args, paths []string, namespace string) ([]*api.Ref, error) {
	switch {
	case len(paths) > 0 && len(args) > 0:
		return nil, usagef("name objects or give files that hold them, not both")
	case len(paths) > 0:
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
	sel := selection{namespace: namespace}
	reqs, err := sel.requests(args, false)
	if err != nil {
		return nil, err
	}
	var refs []*api.Ref
	for _, req := range reqs {
		if len(req.GetNames()) == 0 {
			return nil, usagef("say what to delete: KIND NAME, KIND/NAME or -f FILE")
		}
		k, _ := findKind(req.GetKind())
		for _, name := range req.GetNames() {
			refs = append(refs, &api.Ref{Kind: k.key, Namespace: namespace, Name: name})
		}
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
