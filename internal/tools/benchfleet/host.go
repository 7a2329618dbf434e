package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/reconciler"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// runtimes runs the driver's sandboxes in this process. It implements
// reconciler.Runtimes.
type runtimes struct {
	mu      sync.Mutex
	running map[string]*instance // by bundle
	pid     int
}

// instance is a sandbox of the driver in the place of a plugin process.
type instance struct {
	*fake.Runtime

	pid  int
	done chan struct{}
	end  sync.Once
}

func newRuntimes() *runtimes { return &runtimes{running: map[string]*instance{}} }

func (r *runtimes) Launch(_ context.Context, _, dir string) (reconciler.Instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pid++
	i := &instance{Runtime: fake.New(fake.Options{DiscardLogs: true}), pid: r.pid, done: make(chan struct{})}
	r.running[dir] = i
	return i, nil
}

func (r *runtimes) Reattach(_ context.Context, dir string) (reconciler.Instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.running[dir]; i != nil {
		return i, nil
	}
	return nil, drivers.ErrNotFound
}

func (r *runtimes) CleanUp(ctx context.Context, dir string, _ ...procfs.ID) error {
	r.mu.Lock()
	i := r.running[dir]
	delete(r.running, dir)
	r.mu.Unlock()
	if i == nil {
		return nil
	}
	i.Crash("killed")
	return i.Shutdown(ctx)
}

func (*runtimes) Needs(string) (bundle.Needs, error) { return bundle.Needs{Image: true}, nil }

func (*runtimes) Info(ctx context.Context, _ string) (drivers.Info, error) {
	return fake.New(fake.Options{}).Info(ctx)
}

func (*runtimes) List(context.Context) ([]reconciler.RuntimeInfo, error) {
	return []reconciler.RuntimeInfo{{Name: "fake"}}, nil
}

func (i *instance) Shutdown(ctx context.Context) error {
	err := i.Runtime.Shutdown(ctx)
	i.end.Do(func() { close(i.done) })
	return err
}

func (i *instance) PID() int              { return i.pid }
func (i *instance) Done() <-chan struct{} { return i.done }
func (i *instance) Detach()               {}

// store has every image, and tells when a certain one is asked for.
type store struct {
	reconciler.Images // what a fleet never asks for
	expected          atomic.Pointer[expectation]
}

type expectation struct {
	image string
	asked chan time.Time
}

func (s *store) expect(image string) <-chan time.Time {
	e := &expectation{image, make(chan time.Time, 1)}
	s.expected.Store(e)
	return e.asked
}

func (s *store) Ensure(_ context.Context, ref string, _ images.EnsureOptions) (*images.Image, error) {
	if e := s.expected.Load(); e != nil && e.image == ref {
		e.asked <- time.Now()
		s.expected.Store(nil)
	}
	return s.Get(ref, "")
}

func (*store) Get(ref, _ string) (*images.Image, error) {
	return &images.Image{Reference: ref, Digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", Rootfs: "/rootfs"}, nil
}

func (*store) List() ([]*images.Image, error) { return nil, nil }

func (*store) Remove(ref string) (int64, error) {
	return 0, fmt.Errorf("image %s: %w", ref, drivers.ErrNotFound)
}

type noKernels struct{}

func (noKernels) Get(name string) (kernels.Kernel, error) {
	return kernels.Kernel{}, fmt.Errorf("kernel %s: %w", name, drivers.ErrNotFound)
}

func (noKernels) Prune(context.Context, func(string) bool) error { return nil }
