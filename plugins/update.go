package plugins

import (
	"context"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

func (c *client) Update(ctx context.Context, live drivers.Live) error {
	_, err := call(ctx, callDeadline, c.rpc.Update, wire.FromLive(live))
	return err
}

func (s *server) Update(ctx context.Context, m *wire.Live) (*runtimepb.UpdateResponse, error) {
	return reply(&runtimepb.UpdateResponse{}, s.rt.Update(ctx, wire.ToLive(m)))
}
