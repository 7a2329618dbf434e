package plugins

import (
	"context"
	"fmt"
	"path"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// ProtocolVersion is the newest version of the runtime protocol spoken here. All
// versions have one gRPC service, which only ever grows:
//
//   - 1 has the routes that routesOf1 names;
//   - 2 has every route that the service has today.
const ProtocolVersion = 2

// routesOf1 are the routes of protocol 1. The list is closed: a route that comes
// later belongs to a later protocol.
func routesOf1() []string {
	return []string{
		"Info", "Probe", "Bootstrap", "CreateProcess", "StartProcess", "Exec", "Attach", "Kill", "Resize",
		"Wait", "Stop", "State", "Statistics", "Pause", "Resume", "Events", "Shutdown",
	}
}

// capabilitiesOf1 returns the capabilities of a plugin that speaks protocol 1:
// of those that it names, the ones whose routes it has; and those that every
// runtime had to have then, which had no name.
func capabilitiesOf1(named []string) []string {
	known := []string{drivers.CapabilityAttach, drivers.CapabilityExec, drivers.CapabilityPause, drivers.CapabilityStatistics}
	all := []string{
		drivers.CapabilityContainers, drivers.CapabilityNestedVirtualization,
		drivers.CapabilityTerminal, drivers.CapabilityVolumes,
	}
	for _, c := range named {
		if slices.Contains(known, c) {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return all
}

// lacking returns the error for a route that the plugin on record does not have;
// nil if it may have it.
func (r record) lacking(method string) error {
	route := path.Base(method)
	if r.ProtocolVersion >= ProtocolVersion || slices.Contains(routesOf1(), route) {
		return nil
	}
	return wire.ToStatus(fmt.Errorf("%s: %w by runtime plugin %q %s: it speaks protocol %d, and %s came with protocol %d: install a newer version of the plugin, then restart the sandbox",
		route, drivers.ErrUnsupported, r.Plugin, r.PluginVersion, r.ProtocolVersion, route, ProtocolVersion))
}

// explain gives words to the one answer that gRPC itself gives for a plugin: that
// it does not know a route. The plugin was then built before the route was there.
func (r record) explain(method string, err error) error {
	if st, ok := status.FromError(err); !ok || st.Code() != codes.Unimplemented || len(st.Details()) > 0 {
		return err
	}
	return wire.ToStatus(fmt.Errorf("%s: %w by runtime plugin %q %s, which does not know it: install a newer version of the plugin, then restart the sandbox",
		path.Base(method), drivers.ErrUnsupported, r.Plugin, r.PluginVersion))
}

// ours reports whether a method is one of the runtime service.
func ours(method string) bool { return path.Dir(method) == "/"+runtimeService }

// callUnary is a grpc.UnaryClientInterceptor.
func (r record) callUnary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	next grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if !ours(method) {
		return next(ctx, method, req, reply, conn, opts...)
	}
	if err := r.lacking(method); err != nil {
		return err
	}
	return r.explain(method, next(ctx, method, req, reply, conn, opts...))
}

// callStream is a grpc.StreamClientInterceptor.
func (r record) callStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	next grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if !ours(method) {
		return next(ctx, desc, conn, method, opts...)
	}
	if err := r.lacking(method); err != nil {
		return nil, err
	}
	stream, err := next(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, r.explain(method, err)
	}
	return explainedStream{stream, r, method}, nil
}

type explainedStream struct {
	grpc.ClientStream

	record record
	method string
}

func (s explainedStream) RecvMsg(m any) error {
	return s.record.explain(s.method, s.ClientStream.RecvMsg(m))
}

// Info says what the plugin is. One that speaks an older protocol cannot do what
// came later, whatever it says.
func (i *Instance) Info(ctx context.Context) (drivers.Info, error) {
	info, err := i.Runtime.Info(ctx)
	if i.record.ProtocolVersion == 1 {
		info.Capabilities = capabilitiesOf1(info.Capabilities)
	}
	return info, err
}

// ProtocolVersion returns the version of the protocol that was agreed on.
func (i *Instance) ProtocolVersion() int { return i.record.ProtocolVersion }
