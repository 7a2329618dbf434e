package reconciler

import (
	"context"
	"io"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// Runtimes starts and finds the processes that drive sandboxes, one for each.
// A process is known by the bundle directory of its sandbox. Its methods are
// safe for concurrent use with different bundles.
type Runtimes interface {
	// Launch starts a fresh process for a bundle that has none. An unknown
	// runtime is drivers.ErrNotFound.
	Launch(ctx context.Context, runtime, bundle string) (Instance, error)
	// Reattach finds the process that an earlier daemon started for the bundle.
	// If there never was one, or it was ended in good order, the error is
	// drivers.ErrNotFound; any other error means that there may be something to
	// clean up.
	Reattach(ctx context.Context, bundle string) (Instance, error)
	// CleanUp ends whatever an earlier process of the bundle left behind, itself
	// and the extra processes included, and returns when nothing of it runs. There
	// may be nothing to do.
	CleanUp(ctx context.Context, bundle string, extra ...procfs.ID) error
	// Needs says what has to be ready before a sandbox of a runtime is made. An
	// unknown runtime is drivers.ErrNotFound.
	Needs(runtime string) (bundle.Needs, error)
	// Info says what a runtime is; it may start it for that.
	Info(ctx context.Context, runtime string) (drivers.Info, error)
	// List tells about every runtime that is installed, and whether it can run
	// sandboxes on this host.
	List(ctx context.Context) ([]RuntimeInfo, error)
}

// RuntimeInfo tells about an installed runtime.
type RuntimeInfo struct {
	Name, Version, Path string
	// Err says why it cannot run sandboxes here; nil when it can.
	Err error
}

// Instance is the process that drives one sandbox.
type Instance interface {
	drivers.Runtime
	// PID is the process's id on the host.
	PID() int
	// Done is closed when the process is gone.
	Done() <-chan struct{}
	// Detach lets go of the process without disturbing it.
	Detach()
}

// Networks starts and finds the processes that drive networks, one for each. A
// process is known by its network's directory. Its methods are safe for concurrent
// use with different directories.
type Networks interface {
	// Launch starts a fresh process for a directory that has none.
	Launch(ctx context.Context, dir string) (NetworkInstance, error)
	// Reattach finds the process that an earlier daemon started; without one the
	// error is drivers.ErrNotFound.
	Reattach(ctx context.Context, dir string) (NetworkInstance, error)
	// CleanUp ends whatever is left of an earlier process. There may be nothing.
	CleanUp(ctx context.Context, dir string) error
}

// NetworkInstance is the process that drives one network.
type NetworkInstance interface {
	drivers.Network
	PID() int
	// Done is closed when the process is gone.
	Done() <-chan struct{}
	// Detach lets go of the process without disturbing it.
	Detach()
}

// Images is the store of images on this host. It is implemented by images.Store.
type Images interface {
	// Ensure brings an image here, as the policy says, and unpacks it.
	Ensure(ctx context.Context, reference string, opts images.EnsureOptions) (*images.Image, error)
	// Get returns an image that is here; platform "" means the host's.
	Get(reference, platform string) (*images.Image, error)
	// List returns the images that are here.
	List() ([]*images.Image, error)
	// Remove removes an image and returns how many bytes that freed.
	Remove(reference string) (freed int64, err error)
	// Describe returns an image's manifest and config, in JSON.
	Describe(reference, platform string) (manifest, config []byte, err error)
	// Tag gives an image one more name.
	Tag(ctx context.Context, reference, name string) error
	// Push sends an image to the registry that its name is of.
	Push(ctx context.Context, reference string, opts images.PushOptions) (digest string, err error)
	// Save writes images as one archive.
	Save(ctx context.Context, references []string, platform string, w io.Writer) error
	// Load brings in the images of an archive.
	Load(ctx context.Context, archive io.Reader, opts images.LoadOptions) ([]*images.Image, error)
}

// Kernels finds installed kernels. It is implemented by kernels.Store.
type Kernels interface {
	Get(name string) (kernels.Kernel, error)
	// Prune removes versions that were replaced, but not those in use, which are
	// told by their directories.
	Prune(ctx context.Context, inUse func(dir string) bool) error
}
