package plugins

import (
	"context"
	"maps"
	"slices"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// runtimeService is the runtime service's name in gRPC.
var runtimeService = runtimepb.Runtime_ServiceDesc.ServiceName

// runtimeName is what the runtime service is called in go-plugin's plugin set.
const runtimeName = "runtime"

// The environment variables by which a Launcher tells a plugin where its files are.
const (
	envTLSDir = "VZ_PLUGIN_TLS_DIR"
	envLog    = "VZ_PLUGIN_LOG"
)

// handshake tells a plugin that was started by a launcher from one that was
// started by hand. It is no secret and protects nothing.
func handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		MagicCookieKey:   "VZ_PLUGIN_COOKIE",
		MagicCookieValue: "vzreconciler.dev/plugin",
	}
}

// protocols holds what is spoken in each protocol version. Both arguments are nil
// at the launcher's end.
func protocols(rt drivers.Runtime, streams *wire.Streams) map[int]goplugin.PluginSet {
	sets := map[int]goplugin.PluginSet{}
	for v := 1; v <= ProtocolVersion; v++ {
		sets[v] = goplugin.PluginSet{runtimeName: &runtimePlugin{rt: rt, streams: streams}}
	}
	return sets
}

// offered holds what a launcher offers a plugin: what is spoken here, as far as
// the plugin's manifest says that it speaks it too.
func (p *Plugin) offered() map[int]goplugin.PluginSet {
	sets := protocols(nil, nil)
	if p.Kind == KindNetwork {
		sets = networkProtocols(nil)
	}
	maps.DeleteFunc(sets, func(v int, _ goplugin.PluginSet) bool { return !slices.Contains(p.ProtocolVersions, v) })
	return sets
}

// spokenVersions are those of the runtime protocol.
func spokenVersions() []int { return slices.Sorted(maps.Keys(protocols(nil, nil))) }

// runtimePlugin is go-plugin's view of a runtime.
type runtimePlugin struct {
	goplugin.NetRPCUnsupportedPlugin

	rt      drivers.Runtime
	streams *wire.Streams
}

func (p *runtimePlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	runtimepb.RegisterRuntimeServer(s, &server{rt: p.rt, streams: p.streams})
	return nil
}

func (p *runtimePlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}
