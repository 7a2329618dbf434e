package api

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// interceptors do what every call needs: check the caller, end the call when
// the daemon ends, turn errors into statuses, log.
type interceptors struct {
	ctx   context.Context //nolint:containedctx // the life of the server
	owner int
	log   *slog.Logger
}

var errShuttingDown = errors.New("the daemon is shutting down")

func (in interceptors) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := authorize(ctx, in.owner); err != nil {
		return nil, err
	}
	ctx, cancel := in.bind(ctx)
	defer cancel()
	start := time.Now()
	resp, err := handler(ctx, req)
	return resp, in.finish(ctx, info.FullMethod, start, err)
}

func (in interceptors) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := authorize(ss.Context(), in.owner); err != nil {
		return err
	}
	ctx, cancel := in.bind(ss.Context())
	defer cancel()
	start := time.Now()
	return in.finish(ctx, info.FullMethod, start, handler(srv, boundStream{ss, ctx}))
}

// bind returns a call's context that ends with the server too.
func (in interceptors) bind(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(in.ctx, func() { cancel(errShuttingDown) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func (in interceptors) finish(ctx context.Context, method string, start time.Time, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errShuttingDown) {
		err = status.Error(codes.Unavailable, errShuttingDown.Error())
	}
	err = wire.ToStatus(err)
	in.log.Debug("control API call", "method", method, "duration", time.Since(start), "code", status.Code(err).String())
	return err
}

// boundStream is a stream with another context.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what a ServerStream is asked for
}

func (s boundStream) Context() context.Context { return s.ctx }
