package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) getCmd() *cobra.Command {
	var (
		sel   selection
		out   output
		form  outputFormat
		watch bool
	)
	cmd := &cobra.Command{
		Use:   "get [KIND[,KIND…] [NAME…] | KIND/NAME…]",
		Short: "Show objects",
		Long: `Show objects: sandboxes (sb), pods (po), statefulsets (sts), jobs, cronjobs (cj),
sandboxclaims, sandboxwarmpools (swp), sandboxtemplates, configmaps (cm), secrets,
persistentvolumeclaims (pvc), networks (net), runtimeclasses or all, with what is
true of them now. Sandboxes are every VM, whatever kind it was written as or made by.`,
		Example: `  vzctl get sandboxes -o wide
  vzctl get sandbox web -o jsonpath='{.status.phase}'
  vzctl get pods,configmaps --all-namespaces
  vzctl get statefulsets,jobs,cronjobs
  vzctl get sandboxwarmpools,sandboxclaims -o wide
  vzctl get sandboxes -l app=web --watch
  vzctl get sandboxes --field-selector status.phase!=Running --sort-by .metadata.creationTimestamp
  vzctl get all -o custom-columns=KIND:.kind,NAME:.metadata.name`,
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := form.parse(&out); err != nil {
				return err
			}
			reqs, err := sel.requests(args, false)
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			if watch {
				switch {
				case len(reqs) != 1 || reqs[0].GetKind() == kindAll:
					return usagef("--watch takes one kind at a time")
				case form.sortBy != "":
					return usagef("changes come as they happen: --watch has no --sort-by")
				}
				return a.watchObjects(cmd.Context(), client, reqs[0], form)
			}
			return a.getObjects(cmd.Context(), client, reqs, form, args)
		},
	}
	sel.addFlags(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with every change")
	cmd.Flags().BoolVar(&form.noHeaders, "no-headers", false, "leave the names of the columns out")
	cmd.Flags().BoolVar(&form.labels, "show-labels", false, "show labels, as the last column")
	cmd.Flags().StringVar(&form.sortBy, "sort-by", "", "sort by a field, as .metadata.creationTimestamp")
	a.addOutput(cmd, &out, "table", "wide", "name", columnsPrefix+"SPEC")
	return cmd
}

// columnsPrefix comes before the columns that the user chose.
const columnsPrefix = "custom-columns="

// outputFormat is how objects are to be shown.
type outputFormat struct {
	wide, name, labels, noHeaders bool
	sortBy                        string
	columns                       printer.Columns
	// format is set for what programs read.
	format *printer.Format
}

func (f *outputFormat) parse(out *output) error {
	var err error
	if spec, ok := strings.CutPrefix(out.value, columnsPrefix); ok {
		if f.columns, err = printer.ParseColumns(spec); err != nil {
			return &usageError{err}
		}
	} else if f.format, err = out.format(); err != nil {
		return err
	}
	f.wide, f.name = out.value == "wide", out.value == "name"
	if f.sortBy != "" {
		if _, err := printer.ParseJSONPath(f.sortBy); err != nil {
			return usagef("--sort-by: %w", err)
		}
	}
	return nil
}

func (a *app) getObjects(ctx context.Context, client *api.Client, reqs []*api.GetRequest, out outputFormat, args []string) error {
	var (
		raws   []json.RawMessage
		failed error
	)
	for _, req := range eachName(reqs) {
		resp, err := client.Get(ctx, req)
		if err != nil {
			// What was found is shown all the same.
			failed = errors.Join(failed, err)
			continue
		}
		for _, o := range resp.GetObjects() {
			raws = append(raws, o)
		}
	}
	if failed != nil && len(raws) == 0 {
		return failed
	}
	if out.sortBy != "" {
		if err := printer.SortBy(raws, out.sortBy); err != nil {
			return err
		}
	}
	switch {
	case out.format != nil:
		return errors.Join(a.printFormat(*out.format, raws, args), failed)
	case out.columns != nil:
		return errors.Join(a.printColumns(out, raws), failed)
	}
	objects := make([]object, len(raws))
	for i, raw := range raws {
		var err error
		if objects[i], err = decodeObject(raw); err != nil {
			return err
		}
	}
	if out.name {
		return errors.Join(a.printNames(objects), failed)
	}
	several := len(reqs) > 1 || reqs[0].GetKind() == kindAll
	if out.sortBy != "" { // Each table has its own order.
		slices.SortStableFunc(objects, func(a, b object) int { return strings.Compare(tableOf(&a), tableOf(&b)) })
	}
	r := rows{
		wide: out.wide, labels: out.labels, noHeaders: out.noHeaders,
		namespaces: reqs[0].GetNamespace() == "", kinds: several, now: time.Now(),
	}
	if err := a.printTables(r, objects); err != nil {
		return err
	}
	if len(objects) == 0 {
		a.sayNoneFound(reqs[0])
	}
	if len(reqs[0].GetNames()) == 0 {
		a.warnOfSources(ctx, client, objects)
	}
	return failed
}

// printFormat prints objects for programs: one that was named by itself, others
// as a list.
func (a *app) printFormat(f printer.Format, raws []json.RawMessage, args []string) error {
	if len(raws) == 1 && namesOne(args) {
		return f.Object(a.stdout, raws[0])
	}
	return f.List(a.stdout, raws)
}

// namesOne reports whether arguments name exactly one object.
func namesOne(args []string) bool {
	return len(args) == 1 && strings.Contains(args[0], "/") || len(args) == 2
}

// printColumns prints the columns that the user chose.
func (a *app) printColumns(out outputFormat, raws []json.RawMessage) error {
	var table [][]printer.Cell
	if !out.noHeaders {
		table = append(table, out.columns.Header())
	}
	for _, raw := range raws {
		row, err := out.columns.Row(raw)
		if err != nil {
			return err
		}
		table = append(table, row)
	}
	return a.table().Write(table...)
}

func (a *app) printNames(objects []object) error {
	for _, o := range objects {
		if err := a.printf("%s\n", o.ref()); err != nil {
			return err
		}
	}
	return nil
}

// printTables prints a table for each sort of objects.
func (a *app) printTables(r rows, objects []object) error {
	for i := 0; i < len(objects); {
		name := tableOf(&objects[i])
		table := [][]printer.Cell{r.header(name)}
		first := i == 0
		for ; i < len(objects) && tableOf(&objects[i]) == name; i++ {
			table = append(table, r.row(&objects[i]))
		}
		if !first {
			if err := a.printf("\n"); err != nil {
				return err
			}
		}
		if table[0][len(table[0])-1].Text == "MESSAGE" {
			table = trimEmpty(table)
		}
		if r.noHeaders {
			table = table[1:]
		}
		if err := a.table().Write(table...); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) sayNoneFound(req *api.GetRequest) {
	if req.GetNamespace() == "" {
		fmt.Fprintln(a.stderr, "No objects found.")
		return
	}
	fmt.Fprintf(a.stderr, "No objects found in namespace %s.\n", req.GetNamespace())
}

// warnOfSources tells of manifests that cannot be read, and that no object in
// the table tells of: what they hold may be missing there.
func (a *app) warnOfSources(ctx context.Context, client *api.Client, shown []object) {
	status, err := client.Status(ctx, &api.StatusRequest{})
	if err != nil {
		return // the objects have been shown; this was only to help
	}
	for _, e := range status.GetSourceErrors() {
		told := func(o object) bool { return strings.Contains(o.trouble(), e.GetMessage()) }
		if slices.ContainsFunc(shown, told) {
			continue
		}
		fmt.Fprintf(a.stderr, "Warning: %s\n", printer.Sanitize(sourceError(e)))
	}
	if since := status.GetSuspendedSince(); since != nil {
		fmt.Fprintf(a.stderr, "Warning: no manifest is followed since %s; \"vzctl reconcile resume --all\" has them followed again\n", since.AsTime().Local().Format(time.DateTime))
	}
	if held := status.GetPruneHeld(); len(held) > 0 {
		fmt.Fprintf(a.stderr, "Warning: the removal of %d objects is held; see 'vzctl prune'\n", len(held))
	}
}
