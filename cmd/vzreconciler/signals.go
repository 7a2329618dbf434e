package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// handleSignals returns a context that ends with the first SIGTERM or SIGINT;
// the second ends the process at once. SIGHUP calls resync.
func handleSignals(parent context.Context, resync func(), log *slog.Logger) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case <-ended:
				return
			case s := <-caught:
				switch {
				case s == syscall.SIGHUP:
					log.Info("reading all manifests anew")
					resync()
				case ctx.Err() == nil:
					log.Info("stopping: sandboxes run on, a second signal ends this at once", "signal", s.String())
					cancel()
				default:
					os.Exit(exitFailed)
				}
			}
		}
	}()
	return ctx, func() {
		signal.Stop(caught)
		close(ended)
		cancel()
	}
}
