package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

func serve(t *testing.T, b *apitest.Backend) *api.Client {
	t.Helper()
	_, socket := apitest.Serve(t, b)
	client, err := api.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestClientThatCalledNothingLeavesNoConnection(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := api.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is still there: %v", err)
	}
}

func TestErrorsKeepTheirKindAndText(t *testing.T) {
	for _, kind := range []error{
		drivers.ErrNotFound, drivers.ErrInvalidArgument, drivers.ErrInvalidState,
		drivers.ErrUnavailable, drivers.ErrUnsupported, drivers.ErrExhausted,
	} {
		want := fmt.Errorf("sandbox %q: %w", "web", kind)
		client := serve(t, &apitest.Backend{
			GetFunc: func(context.Context, *api.GetRequest) ([]json.RawMessage, error) { return nil, want },
			LogsFunc: func(_ context.Context, _ *api.LogsRequest, send func([]byte) error) error {
				return errors.Join(send([]byte("x")), want)
			},
		})
		_, err := client.Get(t.Context(), &api.GetRequest{})
		if !errors.Is(err, kind) || err.Error() != want.Error() {
			t.Errorf("Get: got %v, want %v", err, want)
		}
		stream, err := client.Logs(t.Context(), &api.LogsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); !errors.Is(err, kind) {
			t.Errorf("Logs: got %v, want %v", err, want)
		}
	}
}

func TestObjectsArriveAsTheyWereSent(t *testing.T) {
	want := `{"kind":"Sandbox","metadata":{"name":"a<b"}}`
	client := serve(t, &apitest.Backend{
		GetFunc: func(_ context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
			if req.GetKind() != "sb" || req.GetLabelSelector() != "app=web" {
				t.Errorf("request: %v", req)
			}
			return []json.RawMessage{json.RawMessage(want)}, nil
		},
	})
	resp, err := client.Get(t.Context(), &api.GetRequest{Kind: "sb", LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetObjects()) != 1 || string(resp.GetObjects()[0]) != want {
		t.Errorf("got %s", resp.GetObjects())
	}
}

func TestManyObjectsFitIntoOneAnswer(t *testing.T) {
	const count = 3000
	object, err := json.Marshal(map[string]string{"kind": strings.Repeat("x", 4<<10)})
	if err != nil {
		t.Fatal(err)
	}
	client := serve(t, &apitest.Backend{
		GetFunc: func(context.Context, *api.GetRequest) ([]json.RawMessage, error) {
			objects := make([]json.RawMessage, count)
			for i := range objects {
				objects[i] = object
			}
			return objects, nil
		},
	})
	resp, err := client.Get(t.Context(), &api.GetRequest{})
	if err != nil || len(resp.GetObjects()) != count {
		t.Fatalf("got %d objects, error %v", len(resp.GetObjects()), err)
	}
}

func TestARequestTooLargeIsRefused(t *testing.T) {
	client := serve(t, &apitest.Backend{})
	_, err := client.Apply(t.Context(), &api.ApplyRequest{Data: make([]byte, 16<<20)})
	if err == nil || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("got %v", err)
	}
}

// cat is an ExecFunc that gives stdin back on stdout, and a copy on stderr.
func cat(_ context.Context, _ *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
	started(7, time.Now())
	_, err := io.Copy(io.MultiWriter(stdio.Stdout, stdio.Stderr), stdio.Stdin)
	return drivers.ExitStatus{Code: 42}, err
}

func TestExecIsBinarySafeBothWays(t *testing.T) {
	data := make([]byte, 3<<20+17)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	client := serve(t, &apitest.Backend{ExecFunc: cat})
	var stdout, stderr bytes.Buffer
	status, err := client.Exec(t.Context(), &api.ExecStart{Stdin: true}, drivers.Stdio{
		Stdin: bytes.NewReader(data), Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	if status.Code != 42 {
		t.Errorf("exit code %d, want 42", status.Code)
	}
	if !bytes.Equal(stdout.Bytes(), data) || !bytes.Equal(stderr.Bytes(), data) {
		t.Errorf("%d bytes went in, %d and %d came out", len(data), stdout.Len(), stderr.Len())
	}
}

func TestExecPassesItsRequestSizesAndSignalsOn(t *testing.T) {
	client := serve(t, &apitest.Backend{
		ExecFunc: func(_ context.Context, req *api.ExecStart, stdio drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
			started(1, time.Now())
			if stdio.Stdin != nil {
				t.Error("the process was not to have a stdin")
			}
			size, signal := <-stdio.Resize, <-stdio.Signals
			_, err := fmt.Fprintf(stdio.Stdout, "%s %v %dx%d %d", req.GetObject().GetName(), req.GetArgs(), size.Width, size.Height, signal)
			return drivers.ExitStatus{Code: 128 + signal, Signal: signal}, err
		},
	})
	resize, signals := make(chan drivers.TerminalSize, 1), make(chan int, 1)
	resize <- drivers.TerminalSize{Width: 132, Height: 43}
	signals <- 15
	var stdout bytes.Buffer
	status, err := client.Exec(t.Context(), &api.ExecStart{Object: &api.Ref{Name: "web"}, Args: []string{"sleep", "1"}},
		drivers.Stdio{Stdout: &stdout, Resize: resize, Signals: signals})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "web [sleep 1] 132x43 15"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if status.Code != 143 || status.Signal != 15 {
		t.Errorf("status %+v", status)
	}
}

func TestCancellingExecEndsTheProcess(t *testing.T) {
	running, ended := make(chan struct{}), make(chan error, 1)
	client := serve(t, &apitest.Backend{
		ExecFunc: func(ctx context.Context, _ *api.ExecStart, _ drivers.Stdio, started func(int, time.Time)) (drivers.ExitStatus, error) {
			started(1, time.Now())
			close(running)
			<-ctx.Done()
			ended <- ctx.Err()
			return drivers.ExitStatus{}, ctx.Err()
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-running
		cancel()
	}()
	if _, err := client.Exec(ctx, &api.ExecStart{}, drivers.Stdio{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it cancelled", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the process ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the process was not ended")
	}
}

func TestAClientThatVanishesEndsItsWatch(t *testing.T) {
	ended := make(chan struct{})
	client := serve(t, &apitest.Backend{
		WatchFunc: func(ctx context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
			defer close(ended)
			if err := send(&api.WatchResponse{Type: api.WatchResponse_SYNCED}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		},
	})
	stream, err := client.Watch(t.Context(), &api.GetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the watch goes on")
	}
}
