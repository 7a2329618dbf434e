package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) treeCmd() *cobra.Command {
	var (
		sel    selection
		usedBy bool
		out    output
	)
	cmd := &cobra.Command{
		Use:   "tree [NAME | KIND NAME | KIND/NAME]",
		Short: "Show what depends on what",
		Long: `Show objects with what they depend on below them: what they own, the ConfigMaps and
Secrets they use, and what they wait for (dependsOn). Without a name, those that no
other depends on come first. --used-by turns it round: below an object is what
depends on it.`,
		Example: `  vzctl tree
  vzctl tree web
  vzctl tree configmap/settings --used-by`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			reqs, err := sel.requests(args, true)
			if err != nil {
				return err
			}
			if len(args) > 0 && len(reqs[0].GetNames()) != 1 {
				return usagef("name one object, or none for all")
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.tree(cmd.Context(), client, reqs[0], len(args) > 0, usedBy, format)
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().BoolVarP(&sel.allNamespaces, "all-namespaces", "A", false, "objects of every namespace")
	cmd.Flags().BoolVar(&usedBy, "used-by", false, "what depends on an object, instead of what it depends on")
	a.addOutput(cmd, &out, "table")
	return cmd
}

func (a *app) tree(ctx context.Context, client *api.Client, req *api.GetRequest, one, usedBy bool, format *printer.Format) error {
	resp, err := client.Get(ctx, &api.GetRequest{Kind: kindAll, Namespace: req.GetNamespace()})
	if err != nil {
		return err
	}
	objects, err := decodeObjects(resp.GetObjects())
	if err != nil {
		return err
	}
	g := newGraph(objects)
	if usedBy {
		g.reverse()
	}
	roots := g.roots()
	if one {
		found, err := selectRefs(ctx, client, req)
		if err != nil {
			return err
		}
		roots = roots[:0]
		for _, ref := range found {
			roots = append(roots, nodeKey{ref.GetKind(), ref.GetNamespace(), ref.GetName()})
		}
	}
	trees := make([]*branch, len(roots))
	for i, key := range roots {
		trees[i] = g.grow(key)
	}
	if format != nil {
		items := make([]json.RawMessage, len(trees))
		for i, t := range trees {
			if items[i], err = toJSON(t); err != nil {
				return err
			}
		}
		return format.List(a.stdout, items)
	}
	if len(trees) == 0 {
		a.sayNoneFound(req)
		return nil
	}
	names := []string{"OBJECT", "READY", "STATUS", "RELATION"}
	if req.GetNamespace() == "" {
		names = append([]string{"NAMESPACE"}, names...)
	}
	table := [][]printer.Cell{printer.Header(names...)}
	for _, t := range trees {
		table = t.rows(table, req.GetNamespace() == "", "", "")
	}
	return a.table().Write(table...)
}
