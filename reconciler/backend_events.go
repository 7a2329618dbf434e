package reconciler

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
)

// Events implements api.Backend.
func (m *Manager) Events(ctx context.Context, req *api.EventsRequest, send func(*api.Event) error) error {
	ref := req.GetObject()
	filter := events.Filter{Namespace: ref.GetNamespace(), Name: ref.GetName()}
	if ref.GetKind() != "" {
		sel, err := parseKind(ref.GetKind())
		if err != nil {
			return err
		}
		if len(sel.keys) == 1 {
			filter.Kind = sel.keys[0]
		}
	}
	for _, t := range req.GetTypes() {
		if t != eventNormal && t != eventWarning {
			return fmt.Errorf("%w: there are no events of type %q, only %s and %s", drivers.ErrInvalidArgument, t, eventNormal, eventWarning)
		}
	}
	if types := req.GetTypes(); len(types) > 0 {
		all := send
		send = func(e *api.Event) error {
			if !slices.Contains(types, e.GetType()) {
				return nil
			}
			return all(e)
		}
	}
	if !req.GetFollow() {
		return sendEvents(m.opts.Events.List(filter), send)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kept, news := m.opts.Events.ListAndWatch(ctx, filter)
	if err := sendEvents(kept, send); err != nil {
		return err
	}
	for e := range news {
		if err := send(apiEvent(e)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func sendEvents(list []events.Event, send func(*api.Event) error) error {
	for _, e := range list {
		if err := send(apiEvent(e)); err != nil {
			return err
		}
	}
	return nil
}

func apiEvent(e events.Event) *api.Event {
	return &api.Event{
		FirstTime: timestamppb.New(e.FirstTime), LastTime: timestamppb.New(e.LastTime),
		Count: e.Count, Type: e.Type, Reason: e.Reason, Message: e.Message, Object: refOf(e.Object),
	}
}
