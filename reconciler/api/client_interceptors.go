package api

import (
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// clientInterceptors turn statuses back into errors of their kind.
type clientInterceptors struct {
	socket string
}

func (in clientInterceptors) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return in.fromStatus(invoke(ctx, method, req, reply, conn, opts...))
}

func (in clientInterceptors) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := streamer(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, in.fromStatus(err)
	}
	return errorStream{s, in}, nil
}

func (in clientInterceptors) fromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if st, ok := status.FromError(err); ok && st.Code() == codes.Unavailable {
		return &UnreachableError{Socket: in.socket, Err: errors.New(plainText(st.Message()))}
	}
	return wire.FromStatus(err)
}

// errorStream is a stream whose errors are turned back.
type errorStream struct {
	grpc.ClientStream
	in clientInterceptors
}

func (s errorStream) RecvMsg(m any) error { return s.in.fromStatus(s.ClientStream.RecvMsg(m)) }

// plainText takes gRPC's words off the cause of a broken connection.
func plainText(message string) string {
	if _, rest, ok := strings.Cut(message, `desc = `); ok {
		return strings.Trim(strings.TrimPrefix(rest, "transport: "), `"`)
	}
	return message
}
