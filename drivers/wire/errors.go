package wire

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// errorDomain marks the statuses made here, so that a transport's own
// Unavailable is not taken for a host that lacks a program.
const errorDomain = "vzreconciler.dev"

var kinds = []struct {
	err    error
	code   codes.Code
	reason string
}{
	{drivers.ErrInvalidState, codes.FailedPrecondition, "INVALID_STATE"},
	{drivers.ErrInvalidArgument, codes.InvalidArgument, "INVALID_ARGUMENT"},
	{drivers.ErrNotFound, codes.NotFound, "NOT_FOUND"},
	{drivers.ErrUnavailable, codes.FailedPrecondition, "HOST_UNAVAILABLE"},
	{drivers.ErrUnsupported, codes.Unimplemented, "UNSUPPORTED"},
	{drivers.ErrRefused, codes.FailedPrecondition, "CONNECTION_REFUSED"},
	{drivers.ErrExhausted, codes.ResourceExhausted, "EXHAUSTED"},
	{context.Canceled, codes.Canceled, "CANCELED"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
}

// ToStatus returns err as a gRPC status error that FromStatus turns back into
// an error of the same kind and text. Nil and status errors pass unchanged.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok { //nolint:errorlint // only an unwrapped status may pass: wrapping text must not be lost
		return err
	}
	text := textOf(err)
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			st, derr := status.New(k.code, text).WithDetails(&errdetails.ErrorInfo{Reason: k.reason, Domain: errorDomain})
			if derr != nil {
				st = status.New(k.code, text)
			}
			return st.Err()
		}
	}
	return status.Error(codes.Unknown, text)
}

// maxErrorText bounds what travels of an error: it goes in an HTTP header.
const maxErrorText = 8 << 10

// textOf returns the error's text as it may travel. Names of files and programs
// may hold any bytes; a status with text that is not UTF-8 would lose its details.
func textOf(err error) string {
	const more = "…"
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) <= maxErrorText {
		return text
	}
	end := maxErrorText - len(more)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}

// FromStatus returns a gRPC status error as an error with the server's text
// that errors.Is finds to be of the kind it was there. Others pass unchanged.
func FromStatus(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != errorDomain {
			continue
		}
		for _, k := range kinds {
			if k.reason == info.GetReason() {
				return &remoteError{text: st.Message(), kind: k.err}
			}
		}
	}
	switch st.Code() {
	case codes.Canceled:
		return &remoteError{text: st.Message(), kind: context.Canceled}
	case codes.DeadlineExceeded:
		return &remoteError{text: st.Message(), kind: context.DeadlineExceeded}
	case codes.Unimplemented: // the other end is older than this one
		return &remoteError{text: st.Message(), kind: drivers.ErrUnsupported}
	case codes.Unknown:
		return errors.New(st.Message())
	default:
		return &remoteError{text: st.Message(), kind: err}
	}
}

// remoteError is an error from the other side: its text already holds its kind.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }
