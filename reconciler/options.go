package reconciler

import (
	"log/slog"
	"runtime"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/vzreconciler/vzreconciler/internal/agekeys"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// Options of a Manager.
type Options struct {
	// StateDir is the state directory; it is made and locked if need be.
	StateDir bundle.StateDir
	// Locked says that the caller holds the lock of StateDir, by LockStateDir, and
	// keeps it until Run has returned.
	Locked bool
	// SocketDir is a short private directory for sockets.
	SocketDir string
	// ManifestDirs are the directories that the Source reads, if any; Apply writes
	// into the first.
	ManifestDirs []string
	// MetricsAddr is only reported.
	MetricsAddr string
	// Source yields the desired set.
	Source source.Source
	// Keys opens Secrets that are encrypted, when manifests are applied, edited and
	// compared; the Source has its own. Default: nothing does.
	Keys manifests.Keys
	// MaxPrune is how many sandboxes one look at the manifests may remove without
	// being confirmed. Negative means the default: half of them, or all of three.
	MaxPrune int

	Log     *slog.Logger
	Metrics *metrics.Metrics
	Events  *events.Recorder
	// Tracer makes a trace of each sandbox's way to Ready. Default: none.
	Tracer   trace.Tracer
	Images   Images
	Kernels  Kernels
	Runtimes Runtimes
	// HostPaths are the directories of this host that sandboxes may have as volumes,
	// and what is in them.
	HostPaths []string
	// Networks may be nil: then sandboxes cannot be attached to any.
	Networks Networks
	// DefaultRuntime is for sandboxes that name none; empty means that of the
	// platform.
	DefaultRuntime string
	// Agents are the paths of the guest agent by GOARCH.
	Agents map[string]string
	// MaxBoots is how many VMs boot at once; 0 means as many as there are CPUs, at
	// least 2.
	MaxBoots int
}

const (
	// workers is how many objects are looked at at once. A look takes no longer
	// than writing a small file: everything slow is an operation of its own.
	workers = 4
	// rpcTimeout bounds a call that should return at once.
	rpcTimeout = 10 * time.Second
)

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if o.Keys == nil {
		o.Keys = agekeys.File("")
	}
	if o.DefaultRuntime == "" {
		o.DefaultRuntime = bundle.DefaultRuntime()
	}
	if o.MaxBoots <= 0 {
		o.MaxBoots = max(2, runtime.NumCPU())
	}
}
