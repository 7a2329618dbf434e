package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) eventsCmd() *cobra.Command {
	var (
		sel   selection
		about string
		types []string
		watch bool
		out   output
	)
	cmd := &cobra.Command{
		Use:   "events [NAME | KIND/NAME]",
		Short: "Show what happened, oldest first",
		Example: `  vzctl events
  vzctl events web --watch
  vzctl events --for configmap/settings --types=Warning
  vzctl events web -o jsonpath='{.items[*].reason}'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &api.EventsRequest{Object: &api.Ref{Namespace: sel.namespace}, Follow: watch}
			if sel.allNamespaces {
				req.Object.Namespace = ""
			}
			req.Types = types
			switch {
			case len(args) == 1 && about != "":
				return usagef("name one object, with --for or without")
			case about != "":
				args = []string{about}
			}
			if len(args) == 1 {
				if sel.allNamespaces {
					return sel.checkNames()
				}
				var err error
				if req.Object, err = parseRef(args[0], sel.namespace); err != nil {
					return err
				}
			}
			format, err := out.format()
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			stream, err := client.Events(cmd.Context(), req)
			if err != nil {
				return err
			}
			if format != nil {
				return a.printEventObjects(stream.Recv, format, watch)
			}
			return a.printEvents(stream.Recv, watch, sel.allNamespaces)
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().BoolVarP(&sel.allNamespaces, "all-namespaces", "A", false, "events of every namespace")
	cmd.Flags().StringVar(&about, "for", "", "only events of this object: NAME or KIND/NAME")
	cmd.Flags().StringSliceVar(&types, "types", nil, "only events of these types: Normal, Warning")
	a.completeFlag(cmd, "types", "Normal", "Warning")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with new events")
	a.addOutput(cmd, &out, "table")
	return cmd
}

func (a *app) printEvents(recv func() (*api.Event, error), watch, namespaces bool) error {
	table := a.table()
	rows := [][]printer.Cell{eventHeader(namespaces)}
	for {
		e, err := recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		row := eventRow(time.Now(), e, namespaces)
		if !watch {
			rows = append(rows, row)
			continue
		}
		if err := table.Write(append(rows, row)...); err != nil {
			return err
		}
		rows = nil
	}
	if len(rows) == 1 {
		fmt.Fprintln(a.stderr, "No events found.")
		return nil
	}
	return table.Write(rows...)
}

// printEventObjects prints events as one list, or one by one when watching.
func (a *app) printEventObjects(recv func() (*api.Event, error), format *printer.Format, watch bool) error {
	var list []*api.Event
	for {
		e, err := recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !watch {
			list = append(list, e)
			continue
		}
		if err := a.printThing(format, e); err != nil {
			return err
		}
	}
	if watch {
		return nil
	}
	return printList(a, format, list)
}

func eventHeader(namespaces bool) []printer.Cell {
	names := []string{"AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"}
	if namespaces {
		names = append([]string{"NAMESPACE"}, names...)
	}
	return printer.Header(names...)
}

func eventRow(now time.Time, e *api.Event, namespaces bool) []printer.Cell {
	kind := printer.Cell{Text: e.GetType()}
	if e.GetType() == "Warning" {
		kind.Color = printer.Yellow
	}
	row := []printer.Cell{
		{Text: eventAge(now, e)}, kind, {Text: e.GetReason()},
		{Text: strings.ToLower(e.GetObject().GetKind()) + "/" + e.GetObject().GetName()},
		{Text: e.GetMessage()},
	}
	if namespaces {
		row = append([]printer.Cell{{Text: e.GetObject().GetNamespace()}}, row...)
	}
	return row
}

// eventAge returns "5s", or "5s (x3 over 2m)" for an event seen again.
func eventAge(now time.Time, e *api.Event) string {
	last := age(now, e.GetLastTime().AsTime())
	if e.GetCount() < 2 {
		return last
	}
	return fmt.Sprintf("%s (x%d over %s)", last, e.GetCount(), age(now, e.GetFirstTime().AsTime()))
}
