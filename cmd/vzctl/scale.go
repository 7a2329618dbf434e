package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/edit"
)

func (a *app) scaleCmd() *cobra.Command {
	var (
		sel      selection
		replicas int64
		write    bool
	)
	cmd := &cobra.Command{
		Use:   "scale statefulset/NAME|sandboxwarmpool/NAME --replicas=N",
		Short: "Print the change that scales a set or a pool, or make it",
		Long: `Print the change to the manifest of a set or a pool that gives it another number of
replicas, as a patch to commit. --write makes the change in the daemon's folder
instead.`,
		Example: `  vzctl scale statefulset/web --replicas=5
  vzctl scale sandboxwarmpool/warm --replicas=3
  vzctl scale sts/web --replicas=5 --write`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			if replicas < 0 {
				return usagef("--replicas=N is required, and not negative")
			}
			kinds := []string{manifests.KindStatefulSet, manifests.KindSandboxWarmPool}
			return a.withObject(cmd.Context(), args[0], sel.namespace, kinds, func(client *api.Client, o *object) error {
				return a.changeManifest(cmd.Context(), client, o, []string{"spec", "replicas"}, edit.Number(replicas), write)
			})
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().Int64Var(&replicas, "replicas", -1, "how many there shall be; required")
	cmd.Flags().Lookup("replicas").DefValue = "0" // which is not shown
	addWrite(cmd, &write)
	return cmd
}

func addWrite(cmd *cobra.Command, write *bool) {
	cmd.Flags().BoolVar(write, "write", false, "change the manifest in the daemon's folder instead of printing the patch")
}

// withSet calls do with the StatefulSet that an argument names.
func (a *app) withSet(ctx context.Context, arg, namespace string, do func(*api.Client, *object) error) error {
	return a.withObject(ctx, arg, namespace, []string{manifests.KindStatefulSet}, do)
}

// withObject calls do with the object that an argument names, which is of one of
// the kinds.
func (a *app) withObject(ctx context.Context, arg, namespace string, kinds []string, do func(*api.Client, *object) error) error {
	ref, err := parseRef(arg, namespace)
	if err != nil {
		return err
	}
	if !slices.Contains(kinds, ref.GetKind()) {
		return usagef("%q is no %s: want %s/NAME", arg, strings.Join(kinds, " or "), strings.ToLower(kinds[0]))
	}
	client, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	resp, err := client.Get(ctx, &api.GetRequest{Kind: ref.GetKind(), Namespace: namespace, Names: []string{ref.GetName()}})
	if err != nil {
		return err
	}
	o, err := decodeObject(resp.GetObjects()[0])
	if err != nil {
		return err
	}
	return do(client, &o)
}

// changeManifest gives a field of an object's manifest another value: as a patch
// on standard output, or by the daemon.
func (a *app) changeManifest(ctx context.Context, client *api.Client, o *object, field []string, value json.RawMessage, write bool) error {
	if o.Status.Source == nil {
		return fmt.Errorf("%s: its manifest was not applied yet", o.ref())
	}
	file := o.Status.Source.File
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: read its manifest: %w", o.ref(), err)
	}
	edited, document, err := edit.Set(file, data, manifests.Key{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}, field, value)
	if err != nil {
		return err
	}
	if _, errs := manifests.Parse(file, edited); len(errs) > 0 {
		return fmt.Errorf("%s: the changed manifest would have an error: %w", o.ref(), errs[0])
	}
	patch := edit.Patch(filepath.Base(file), data, edited)
	switch {
	case patch == "":
		fmt.Fprintf(a.stderr, "%s has it so already: there is nothing to change in %s.\n", o.ref(), file)
		return nil
	case !write:
		fmt.Fprintf(a.stderr, "This changes %s; commit it, or add --write.\n", file)
		return a.printf("%s", patch)
	}
	if _, err := client.Apply(ctx, &api.ApplyRequest{FileName: filepath.Base(file), Data: document}); err != nil {
		return err
	}
	return a.printf("%s configured in %s\n", o.ref(), file)
}
