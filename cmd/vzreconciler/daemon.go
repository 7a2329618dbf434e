package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/installed"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// gcPercent is what GOGC is by default: the daemon lives beside what it runs, and
// trades a little CPU for memory.
const gcPercent = 25

// run is the daemon, from the first line of its log to the last.
func run(ctx context.Context, cfg config, stderr io.Writer) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := newLogger(stderr, cfg)

	// Nobody but the holder of the lock may touch the state directory.
	stateDir := bundle.StateDir(cfg.stateDir)
	unlock, err := reconciler.LockStateDir(stateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	// What can be refused is, before anything is begun.
	sockets, err := bundle.SocketDir(stateDir)
	if err != nil {
		return err
	}
	// It goes with the last socket in it: those of plugin processes stay.
	defer func() { _ = os.Remove(sockets) }()
	control, err := api.Listen(ctx, stateDir.ControlSocket(), sockets)
	if err != nil {
		return err
	}
	defer control.Close()
	var web net.Listener
	if cfg.metricsAddr != "" {
		if web, err = listenHTTP(ctx, cfg.metricsAddr); err != nil {
			return err
		}
		defer web.Close()
		cfg.metricsAddr = web.Addr().String()
	}

	if err := agekeys.File(cfg.ageKey).Check(); err != nil {
		log.Error("Secrets encrypted with SOPS cannot be opened, and what is known of them stays in force", "error", err)
	}
	tracer, stopTracing, err := newTracer(ctx, log)
	if err != nil {
		return err
	}
	defer stopTracing()
	d, err := build(cfg, stateDir, sockets, tracer, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.events.Close()) }()
	ctx, stop := handleSignals(ctx, d.source.Resync, log)
	defer stop()

	log.Info("vzreconciler starts", "version", version.String(), "pid", os.Getpid(),
		"manifests", strings.Join(cfg.manifests, ","), "git", (&gitSources{list: &cfg.git}).String(), "state", cfg.stateDir, "metrics", cfg.metricsAddr)
	// To systemd, if that started it. It listens already: who asks now is answered.
	if _, err := systemd.SdNotify(false, systemd.SdNotifyReady); err != nil {
		log.Warn("systemd was not told that this is ready", "error", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.manager.Run(ctx) })
	group.Go(func() error { return api.Serve(ctx, control, d.manager, log) })
	if web != nil {
		group.Go(func() error { return serveHTTP(ctx, web, newHTTP(d.registry, d.manager, d.hook, log), log) })
	}
	err = group.Wait()
	log.Info("vzreconciler has stopped; sandboxes run on")
	return err
}

// daemon is what the daemon is made of.
type daemon struct {
	manager  *reconciler.Manager
	source   source.Source
	hook     http.Handler // of webhooks; nil for none
	events   *events.Recorder
	registry *prometheus.Registry
}

// build puts the parts together.
func build(cfg config, stateDir bundle.StateDir, sockets string, tracer trace.Tracer, log *slog.Logger) (*daemon, error) {
	program, err := installed.Dir()
	if err != nil {
		return nil, err
	}
	agents := installed.Agents(program)
	if len(agents) == 0 {
		log.Warn("no guest agent is installed beside this program: no VM can start; build it with make build")
	}
	registries, err := cfg.registries()
	if err != nil {
		return nil, err
	}
	store, err := images.Open(stateDir.Images(), images.Options{Log: log, Registries: registries})
	if err != nil {
		return nil, err
	}
	recorder, err := events.Open(stateDir.Events(), events.Options{Log: log})
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	src, hook, err := newSources(cfg, stateDir, recorder, log)
	if err != nil {
		return nil, errors.Join(err, recorder.Close())
	}
	loader := plugins.NewLoader(plugins.SearchPath(cfg.pluginDirs, stateDir.DataDirs(), program))
	launcher := plugins.NewLauncher(plugins.LauncherOptions{Log: log, SocketDir: sockets})
	manager, err := reconciler.New(reconciler.Options{
		StateDir:       stateDir,
		Locked:         true,
		SocketDir:      sockets,
		ManifestDirs:   cfg.manifests,
		MetricsAddr:    cfg.metricsAddr,
		Source:         src,
		Keys:           agekeys.File(cfg.ageKey),
		MaxPrune:       cfg.maxPrune,
		Log:            log,
		Metrics:        metrics.New(registry),
		Events:         recorder,
		Tracer:         tracer,
		Images:         store,
		Kernels:        kernels.Open(stateDir.Kernels()),
		Runtimes:       &runtimes{loader: loader, launcher: launcher, log: log},
		Networks:       &networks{loader: loader, launcher: launcher},
		DefaultRuntime: cfg.runtime,
		HostPaths:      cfg.hostPaths,
		Agents:         agents,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the reconciler: %w", err), recorder.Close())
	}
	return &daemon{manager: manager, source: src, hook: hook, events: recorder, registry: registry}, nil
}
