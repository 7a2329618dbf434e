package plugins

import (
	"context"
	"log/slog"
	"slices"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// ServeProtocol1 is Serve as it was when there was protocol 1 only: with its
// routes and no others.
func ServeProtocol1(newRuntime func(log *slog.Logger) drivers.Runtime) {
	serve(func(log *slog.Logger, _ *wire.Streams) (work, map[int]goplugin.PluginSet) {
		rt := newRuntime(log)
		return runtimeWork(rt), map[int]goplugin.PluginSet{1: {runtimeName: &protocol1{rt: rt}}}
	}, ServeOptions{})
}

type protocol1 struct {
	goplugin.NetRPCUnsupportedPlugin

	rt drivers.Runtime
}

func (p *protocol1) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	desc := runtimepb.Runtime_ServiceDesc
	later := func(name string) bool { return !slices.Contains(routesOf1(), name) }
	desc.Methods = slices.DeleteFunc(slices.Clone(desc.Methods), func(m grpc.MethodDesc) bool { return later(m.MethodName) })
	desc.Streams = slices.DeleteFunc(slices.Clone(desc.Streams), func(m grpc.StreamDesc) bool { return later(m.StreamName) })
	s.RegisterService(&desc, NewServer(p.rt))
	return nil
}

func (*protocol1) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil //nolint:nilnil // there is no client at the plugin's end
}

// Call calls any route of an instance's plugin, one that does not exist included.
func (i *Instance) Call(ctx context.Context, route string, stream bool) error {
	method := "/" + runtimeService + "/" + route
	if !stream {
		return i.conn.Invoke(ctx, method, &runtimepb.StateRequest{}, &runtimepb.Snapshot{})
	}
	s, err := i.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	return s.RecvMsg(&runtimepb.Snapshot{})
}
