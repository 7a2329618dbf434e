package plugins

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins/networkpb"
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
	work   work
	log    *slog.Logger
	server *grpc.Server
	limit  time.Duration

	mu     sync.Mutex
	unused *time.Timer // nil once there was a call that begins the work
	calls  int         // under way
}

// work is what a plugin serves, as far as its process's life depends on it.
type work struct {
	// begins are the methods by which it is put to use, ends the one that is its last.
	begins []string
	ends   string
	// idle says what was not asked for; stop ends the work in good order.
	idle string
	stop func(context.Context) error
}

// runtimeWork is that of a runtime plugin.
func runtimeWork(rt drivers.Runtime) work {
	return work{
		begins: []string{runtimepb.Runtime_Bootstrap_FullMethodName, runtimepb.Runtime_RestoreState_FullMethodName},
		ends:   runtimepb.Runtime_Shutdown_FullMethodName,
		idle:   "a sandbox",
		stop: func(ctx context.Context) error {
			return errors.Join(rt.Stop(ctx, drivers.StopOptions{GracePeriod: termGrace}), rt.Shutdown(ctx))
		},
	}
}

// networkWork is that of a network plugin.
func networkWork(n drivers.Network) work {
	return work{
		begins: []string{networkpb.Network_Configure_FullMethodName},
		ends:   networkpb.Network_Shutdown_FullMethodName,
		idle:   "a network",
		stop:   n.Shutdown,
	}
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
	l.log.Warn("nobody has asked for "+l.work.idle, "within", l.limit)
	// Stop waits for handlers, which take the lock.
	go l.server.Stop()
}

// enter counts a call; the caller calls leave at its end.
func (l *life) enter(begins bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if begins && l.unused != nil {
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
	l.enter(slices.Contains(l.work.begins, info.FullMethod))
	defer l.leave()
	resp, err := next(ctx, req)
	if err == nil && info.FullMethod == l.work.ends {
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

// terminate stops the work in good order: the host shuts down.
func (l *life) terminate() {
	l.log.Info("terminated: stopping " + l.work.idle)
	ctx, cancel := context.WithTimeout(context.Background(), termTimeout)
	defer cancel()
	if err := l.work.stop(ctx); err != nil {
		l.log.Error("stop "+l.work.idle, "error", err)
	}
	l.server.Stop()
}
