package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

type statusFunc func(ctx context.Context) (*api.StatusResponse, error)

func (f statusFunc) Status(ctx context.Context) (*api.StatusResponse, error) { return f(ctx) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// get asks a server.
func get(t *testing.T, addr, path string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestHealthAndReadiness(t *testing.T) {
	for name, test := range map[string]struct {
		status        *api.StatusResponse
		err           error
		health, ready int
	}{
		"has read its manifests":     {&api.StatusResponse{LastSync: timestamppb.Now()}, nil, 200, 200},
		"has not read its manifests": {&api.StatusResponse{}, nil, 200, 503},
		"does not answer":            {nil, errors.New("stuck"), 503, 503},
	} {
		h := newHTTP(prometheus.NewRegistry(), statusFunc(func(context.Context) (*api.StatusResponse, error) {
			return test.status, test.err
		}), nil, quiet())
		for path, want := range map[string]int{"/healthz": test.health, "/readyz": test.ready} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if w.Code != want {
				t.Errorf("%s: %s answers %d %s, want %d", name, path, w.Code, w.Body, want)
			}
		}
	}
}

func TestOnlyWhatIsThereIsServed(t *testing.T) {
	h := newHTTP(prometheus.NewRegistry(), statusFunc(func(context.Context) (*api.StatusResponse, error) { return nil, nil }), nil, quiet())
	for request, want := range map[string]int{
		"GET /metrics": 200, "POST /metrics": 405, "GET /": 404, "GET /debug/pprof/": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		if w.Code != want {
			t.Errorf("%s answers %d, want %d", request, w.Code, want)
		}
	}
}

func TestAPortThatIsTakenIsToldWithWhatToDo(t *testing.T) {
	taken, err := listenHTTP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = listenHTTP(t.Context(), taken.Addr().String())
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "--metrics-addr") {
		t.Errorf("got %v", err)
	}
}

func TestTheServerEndsWithItsContext(t *testing.T) {
	l, err := listenHTTP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- serveHTTP(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ok")
		}), quiet())
	}()
	if code, body := get(t, l.Addr().String(), "/"); code != http.StatusOK || body != "ok" {
		t.Errorf("it answers %d: %s", code, body)
	}
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
}
