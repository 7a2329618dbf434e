package plugins_test

import (
	"context"
	"errors"
	"path"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// clock is a connection that notes how long each call may take.
type clock map[string]time.Duration

func (c clock) Invoke(ctx context.Context, method string, _, _ any, _ ...grpc.CallOption) error {
	if deadline, ok := ctx.Deadline(); ok {
		c[path.Base(method)] = time.Until(deadline)
	} else {
		c[path.Base(method)] = 0
	}
	return errors.New("enough")
}

func (clock) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("enough")
}

func TestEveryCallHasADeadlineButWait(t *testing.T) {
	c := clock{}
	rt := plugins.NewClient(c)
	calls := func(ctx context.Context) {
		_, _ = rt.Info(ctx)
		_ = rt.Probe(ctx)
		_ = rt.Bootstrap(ctx, drivers.BootstrapRequest{})
		_ = rt.CreateProcess(ctx, "", "", drivers.ProcessSpec{})
		_ = rt.StartProcess(ctx, "")
		_ = rt.Kill(ctx, "", 9)
		_ = rt.Resize(ctx, "", drivers.TerminalSize{})
		_, _ = rt.Wait(ctx, "")
		_ = rt.Stop(ctx, drivers.StopOptions{GracePeriod: time.Hour})
		_, _ = rt.State(ctx)
		_, _ = rt.Statistics(ctx)
		_ = rt.Pause(ctx)
		_ = rt.Resume(ctx)
		_ = rt.Shutdown(ctx)
	}
	calls(t.Context())
	if len(c) != 14 {
		t.Errorf("%d calls, want 14", len(c))
	}
	for method, left := range c {
		switch {
		case method == "Wait":
			if left != 0 {
				t.Errorf("Wait ends after %s", left)
			}
		case method == "Stop":
			if left <= time.Hour {
				t.Errorf("Stop has %s, no more than its grace period", left)
			}
		case left <= 0 || left > 15*time.Minute:
			t.Errorf("%s has a deadline of %s", method, left)
		}
	}
	// The caller's own deadline stands.
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	calls(ctx)
	for method, left := range c {
		if left < 23*time.Hour {
			t.Errorf("%s: the caller's deadline became %s", method, left)
		}
	}
}
