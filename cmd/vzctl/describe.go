package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) describeCmd() *cobra.Command {
	var sel selection
	cmd := &cobra.Command{
		Use:   "describe NAME… | KIND [NAME…] | KIND/NAME…",
		Short: "Show an object at length, with its conditions, what comes next and events",
		Example: `  vzctl describe web
  vzctl describe sandbox web
  vzctl describe configmaps -l app=web`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			reqs, err := sel.requests(args, true)
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.describe(cmd.Context(), client, reqs)
		},
	}
	sel.addFlags(cmd)
	return cmd
}

func (a *app) describe(ctx context.Context, client *api.Client, reqs []*api.GetRequest) error {
	first := true
	var failed error
	for _, req := range eachName(reqs) {
		resp, err := client.Get(ctx, req)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		objects, err := decodeObjects(resp.GetObjects())
		if err != nil {
			return err
		}
		for i := range objects {
			if !first {
				if err := a.printf("\n\n"); err != nil {
					return err
				}
			}
			first = false
			if err := a.describeObject(ctx, client, &objects[i]); err != nil {
				return err
			}
		}
		if len(objects) == 0 {
			a.sayNoneFound(req)
		}
	}
	return failed
}

func (a *app) describeObject(ctx context.Context, client *api.Client, o *object) error {
	events, err := listEvents(ctx, client, o.key())
	if err != nil {
		return err
	}
	d := newDescription(time.Now())
	d.object(o)
	if o.isSandbox() {
		plan, err := client.Plan(ctx, &api.PlanRequest{Object: o.key()})
		switch {
		case err == nil:
			d.plan(plan)
		case !errors.Is(err, drivers.ErrNotFound) && !errors.Is(err, drivers.ErrUnsupported): // It went a moment ago, or the daemon is an older one.
			return err
		}
	}
	d.events(events)
	return d.writeTo(a.stdout)
}

// listEvents returns the events kept for an object, oldest first.
func listEvents(ctx context.Context, client *api.Client, ref *api.Ref) ([]*api.Event, error) {
	stream, err := client.Events(ctx, &api.EventsRequest{Object: ref})
	if err != nil {
		return nil, err
	}
	var events []*api.Event
	for {
		e, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, drivers.ErrNotFound):
			return events, nil
		case err != nil:
			return nil, err
		}
		events = append(events, e)
	}
}
