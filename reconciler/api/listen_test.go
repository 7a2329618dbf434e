package api_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// shortDir returns a directory whose path is short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vzr") //nolint:usetesting // whose paths are long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheSocketIsTheUsersAlone(t *testing.T) {
	stateDir := filepath.Join(shortDir(t), "state")
	socket := filepath.Join(stateDir, "run", "vzreconciler.sock")
	l, err := api.Listen(t.Context(), socket, stateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]fs.FileMode{stateDir: 0o700, filepath.Dir(socket): 0o700, socket: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
}

func TestTheSocketOfADeadDaemonIsReplaced(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "vzreconciler.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(t.Context(), socket, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTheSocketOfALiveDaemonIsLeftAlone(t *testing.T) {
	stateDir, socket := apitest.Serve(t, &apitest.Backend{StatusFunc: okStatus})
	if _, err := api.Listen(t.Context(), socket, stateDir); !errors.Is(err, api.ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	client, err := api.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Status(t.Context(), &api.StatusRequest{}); err != nil {
		t.Errorf("the live daemon was disturbed: %v", err)
	}
}

func okStatus(context.Context) (*api.StatusResponse, error) { return &api.StatusResponse{Pid: 1}, nil }

func TestAFileInPlaceOfTheSocketIsNotRemoved(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "vzreconciler.sock")
	if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(t.Context(), socket, dir); err == nil {
		t.Fatal("a file was taken for a socket")
	}
	if data, err := os.ReadFile(socket); err != nil || string(data) != "precious" {
		t.Errorf("the file was harmed: %q, %v", data, err)
	}
}

func TestAStateDirectoryOfAnyLengthHasASocket(t *testing.T) {
	short := filepath.Join(shortDir(t), "s")
	socket := filepath.Join(shortDir(t), strings.Repeat("d", 90), "run", "vzreconciler.sock")
	for range 2 { // the second finds what the first left
		l, err := api.Listen(t.Context(), socket, short)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() {
			served <- api.Serve(ctx, l, &apitest.Backend{StatusFunc: okStatus}, slog.New(slog.DiscardHandler))
		}()
		client, err := api.Dial(t.Context(), socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Status(t.Context(), &api.StatusRequest{}); err != nil {
			t.Error(err)
		}
		cancel()
		if err := errors.Join(client.Close(), <-served); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWithoutADaemonDialFailsAtOnceAndSaysWhatToDo(t *testing.T) {
	stateDir := shortDir(t)
	socket := filepath.Join(stateDir, "run", "vzreconciler.sock")
	start := time.Now()
	_, err := api.Dial(t.Context(), socket)
	if !errors.Is(err, api.ErrUnreachable) {
		t.Fatalf("got %v, want ErrUnreachable", err)
	}
	for _, want := range []string{socket, "vzreconciler --state-dir " + stateDir} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestADaemonThatEndsIsUnreachable(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "vzreconciler.sock")
	l, err := api.Listen(t.Context(), socket, dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	backend := &apitest.Backend{
		StatusFunc: okStatus,
		WatchFunc: func(ctx context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
			if err := send(&api.WatchResponse{Type: api.WatchResponse_SYNCED}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		},
	}
	go func() { served <- api.Serve(ctx, l, backend, slog.New(slog.DiscardHandler)) }()
	client, err := api.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stream, err := client.Watch(t.Context(), &api.GetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("a watch held the daemon's end up for %v", took)
	}
	if _, err := stream.Recv(); !errors.Is(err, api.ErrUnreachable) || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("the watch ended with %v", err)
	}
	if _, err := client.Status(t.Context(), &api.StatusRequest{}); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("a call after the end: %v", err)
	}
}
