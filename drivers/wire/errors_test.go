package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// travel takes an error over the wire as gRPC does.
func travel(err error) error {
	st, _ := status.FromError(ToStatus(err))
	return FromStatus(status.FromProto(st.Proto()).Err())
}

func TestErrorsKeepKindAndText(t *testing.T) {
	for _, k := range kinds {
		err := fmt.Errorf("stop sandbox %q: %w: more", "a/b", k.err)
		got := travel(err)
		if got.Error() != err.Error() {
			t.Errorf("text %q, want %q", got, err)
		}
		for _, other := range kinds {
			if errors.Is(got, other.err) != errors.Is(other.err, k.err) {
				t.Errorf("%v is %v: %t", got, other.err, errors.Is(got, other.err))
			}
		}
		// Over two hops, as from the guest through a plugin.
		if again := travel(got); again.Error() != err.Error() || !errors.Is(again, k.err) {
			t.Errorf("after a second hop: %v", again)
		}
	}
}

func TestTransportErrorIsNotTakenForTheHosts(t *testing.T) {
	err := FromStatus(status.Error(codes.Unavailable, "connection refused"))
	if errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("%v is said to be the host's", err)
	}
	if status.Code(err) != codes.Unavailable || err.Error() != "connection refused" {
		t.Errorf("got %v with code %s", err, status.Code(err))
	}
	if err := FromStatus(status.Error(codes.Unimplemented, "unknown method Dial")); !errors.Is(err, drivers.ErrUnsupported) {
		t.Errorf("a method that the other end does not know: %v", err)
	}
	if err := FromStatus(status.FromContextError(context.DeadlineExceeded).Err()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("gRPC's own deadline: got %v", err)
	}
}

func TestNilAndPlainErrors(t *testing.T) {
	if ToStatus(nil) != nil || FromStatus(nil) != nil {
		t.Error("nil does not stay nil")
	}
	if got := travel(errors.New("plain")); got.Error() != "plain" {
		t.Errorf("got %v", got)
	}
	plain := errors.New("not a status")
	if got := FromStatus(plain); !errors.Is(got, plain) {
		t.Errorf("got %v", got)
	}
}

func TestErrorTextThatCannotTravelKeepsItsKind(t *testing.T) {
	for name, text := range map[string]string{
		"bytes that are no UTF-8": "exec \xff\xfe\x00: ",
		"a very long text":        strings.Repeat("ä", 1<<20),
	} {
		got := travel(fmt.Errorf("%s%w", text, drivers.ErrNotFound))
		if !errors.Is(got, drivers.ErrNotFound) || !utf8.ValidString(got.Error()) || len(got.Error()) > maxErrorText {
			t.Errorf("%s: %d bytes, not found: %t", name, len(got.Error()), errors.Is(got, drivers.ErrNotFound))
		}
	}
}

func FuzzErrorTextTravels(f *testing.F) {
	f.Add("no such file")
	f.Add("\xff%s\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		got := travel(fmt.Errorf("%w: %s", drivers.ErrInvalidState, text))
		if !errors.Is(got, drivers.ErrInvalidState) {
			t.Fatalf("%q loses its kind", text)
		}
		if again := travel(got); again.Error() != got.Error() {
			t.Fatalf("%q changes on a second hop to %q", got, again)
		}
	})
}
