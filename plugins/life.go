package plugins

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

const (
	// unusedTimeout ends a plugin whose daemon died before it took note of it.
	unusedTimeout = 8 * time.Second
	// termGrace is what containers have when the host shuts down.
	termGrace = 10 * time.Second
	// termTimeout is how long all of their stop may take: with killing, unmounting
	// and powering off it is far more than the grace period.
	termTimeout = 4 * termGrace
	// disconnectGrace is how long clients have to leave after Shutdown.
	disconnectGrace = 2 * time.Second
)

// life ends the server when the plugin's work is over.
type life struct {
	rt     drivers.Runtime
	log    *slog.Logger
	server *grpc.Server
	limit  time.Duration

	mu     sync.Mutex
	unused *time.Timer // nil once there was a Bootstrap or RestoreState
	calls  int         // under way
}

// begin starts the time that the plugin has to be used, and waits for a signal
// for as long as the process lives.
func (l *life) begin(s *grpc.Server, limit time.Duration, terminated <-chan os.Signal) {
	l.server, l.limit = s, limit
	l.unused = time.AfterFunc(limit, l.giveUp)
	go func() {
		<-terminated
		l.terminate()
	}()
}

// giveUp ends the plugin unless somebody talks to it: a probe may take long.
func (l *life) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unused == nil || l.calls > 0 {
		return
	}
	l.log.Warn("nobody has asked for a sandbox", "within", l.limit)
	// Stop waits for handlers, which take the lock.
	go l.server.Stop()
}

// enter counts a call; the caller calls leave at its end.
func (l *life) enter(bootstrap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if bootstrap && l.unused != nil {
		l.unused.Stop()
		l.unused = nil
	}
}

func (l *life) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls--; l.calls == 0 && l.unused != nil {
		l.unused.Reset(l.limit)
	}
}

func (l *life) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	l.enter(info.FullMethod == runtimepb.Runtime_Bootstrap_FullMethodName ||
		info.FullMethod == runtimepb.Runtime_RestoreState_FullMethodName)
	defer l.leave()
	resp, err := next(ctx, req)
	if err == nil && info.FullMethod == runtimepb.Runtime_Shutdown_FullMethodName {
		l.end()
	}
	return resp, err
}

func (l *life) stream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	l.enter(false)
	defer l.leave()
	return next(srv, stream)
}

// end lets the answers that are under way out, and then cuts off the streams
// that nobody ends.
func (l *life) end() {
	go func() {
		cut := time.AfterFunc(disconnectGrace, l.server.Stop)
		defer cut.Stop()
		l.server.GracefulStop()
	}()
}

// terminate stops the sandbox in good order: the host shuts down.
func (l *life) terminate() {
	l.log.Info("terminated: stopping the sandbox")
	ctx, cancel := context.WithTimeout(context.Background(), termTimeout)
	defer cancel()
	err := errors.Join(l.rt.Stop(ctx, drivers.StopOptions{GracePeriod: termGrace}), l.rt.Shutdown(ctx))
	if err != nil {
		l.log.Error("stop the sandbox", "error", err)
	}
	l.server.Stop()
}
