package plugins

import (
	"context"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// saveDeadline is ample for a large memory and a disk on a slow device.
const saveDeadline = 30 * time.Minute

func (c *client) SaveState(ctx context.Context, path string, opts drivers.SaveOptions) error {
	_, err := call(ctx, saveDeadline, c.rpc.SaveState, &runtimepb.SaveStateRequest{Path: path, Stop: opts.Stop})
	return err
}

func (c *client) RestoreState(ctx context.Context, req drivers.BootstrapRequest, path string) error {
	_, err := call(ctx, saveDeadline, c.rpc.RestoreState,
		&runtimepb.RestoreStateRequest{Bundle: req.Bundle, Secrets: req.Secrets, Path: path})
	return err
}

func (s *server) SaveState(ctx context.Context, m *runtimepb.SaveStateRequest) (*runtimepb.SaveStateResponse, error) {
	return reply(&runtimepb.SaveStateResponse{}, s.rt.SaveState(ctx, m.GetPath(), drivers.SaveOptions{Stop: m.GetStop()}))
}

func (s *server) RestoreState(ctx context.Context, m *runtimepb.RestoreStateRequest) (*runtimepb.RestoreStateResponse, error) {
	req := drivers.BootstrapRequest{Bundle: m.GetBundle(), Secrets: m.GetSecrets()}
	return reply(&runtimepb.RestoreStateResponse{}, s.rt.RestoreState(ctx, req, m.GetPath()))
}
