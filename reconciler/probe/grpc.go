package probe

import (
	"context"
	"net"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/internal/version"
)

// checkHealth asks by gRPC's health protocol.
func checkHealth(ctx context.Context, target Target, action *corev1.GRPCAction) Result {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(action.Port)))
	// Whether anybody listens is found out first: gRPC would try again and again.
	conn, err := dial(ctx, target, addr)
	if err != nil {
		return failed("port "+strconv.Itoa(int(action.Port)), err)
	}
	first := make(chan net.Conn, 1)
	first <- conn
	cc, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("vzreconciler-probe/"+version.String()),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			select {
			case conn := <-first:
				return conn, nil
			default:
				return dial(ctx, target, addr)
			}
		}))
	if err != nil {
		_ = conn.Close()
		return failed("gRPC", err)
	}
	defer func() {
		_ = cc.Close()
		select {
		case conn := <-first: // which it has not taken
			_ = conn.Close()
		default:
		}
	}()
	resp, err := grpc_health_v1.NewHealthClient(cc).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: *action.Service},
		grpc.MaxCallRecvMsgSize(maxRead))
	switch s, _ := status.FromError(err); {
	case err == nil && resp.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING:
		return Result{Outcome: Success}
	case err == nil:
		return failure("gRPC health %s", resp.GetStatus())
	case s.Code() == codes.Unimplemented:
		return failure("gRPC: the server has no health service")
	case ctx.Err() != nil:
		return failed("gRPC", ctx.Err())
	default:
		r := failure("gRPC status %s", s.Code())
		r.Output = oneLine(s.Message())
		return r
	}
}
