package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

const (
	// healthTimeout is how long the reconciler may take to answer a question
	// about its health.
	healthTimeout = 2 * time.Second
	// httpStopTimeout bounds how long a scrape under way may hold the daemon's
	// end up.
	httpStopTimeout = time.Second
)

// reporter reports on the daemon.
type reporter interface {
	Status(ctx context.Context) (*api.StatusResponse, error)
}

// newHTTP returns the handler of /metrics, /healthz and /readyz, and of webhooks
// unless hook is nil.
func newHTTP(reg *prometheus.Registry, daemon reporter, hook http.Handler, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	if hook != nil {
		mux.Handle("POST /hooks/git", hook)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            promLog{log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		_, err := askStatus(r.Context(), daemon)
		answer(w, err)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		status, err := askStatus(r.Context(), daemon)
		if err == nil && status.GetLastSync() == nil {
			err = errors.New("the manifests have not been read completely yet")
		}
		answer(w, err)
	})
	return mux
}

func askStatus(ctx context.Context, daemon reporter) (*api.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return daemon.Status(ctx)
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, err.Error()+"\n") // the client may be gone
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// promLog lets promhttp log.
type promLog struct{ log *slog.Logger }

func (l promLog) Println(v ...any) { l.log.Warn("metrics", "error", fmt.Sprint(v...)) }

// listenHTTP opens the address of the metrics.
func listenHTTP(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("metrics: the port of %s is taken: choose another with --metrics-addr, or none with --metrics-addr=", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return l, nil
}

// serveHTTP answers until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve metrics: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpStopTimeout)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		_ = s.Close() // cut off what is still under way
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
