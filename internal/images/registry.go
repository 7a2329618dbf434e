package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Times that a registry gets.
const (
	dialTimeout    = 5 * time.Second
	headerTimeout  = 20 * time.Second
	resolveTimeout = 30 * time.Second
	stallTimeout   = 30 * time.Second
)

// patience is how long and how often a registry is waited for.
type patience struct {
	resolve, stall time.Duration
	// backoff waits after a failure; as many tries are made as it has entries,
	// and one.
	backoff []time.Duration
}

func defaultPatience() patience {
	return patience{resolve: resolveTimeout, stall: stallTimeout, backoff: []time.Duration{500 * time.Millisecond, time.Second, 3 * time.Second}}
}

// registry is an image in a registry.
type registry struct {
	ref     name.Reference
	options []remote.Option

	mu     sync.Mutex
	puller *remote.Puller // remembers a log-in; nil when there is none to be remembered
}

func openRegistry(ref name.Reference, options []remote.Option) *registry {
	return &registry{ref: ref, options: options}
}

func (r *registry) Close() error { return nil }

// use calls fn with a puller. One that failed is not used again: it would remember a
// failed log-in.
func (r *registry) use(fn func(*remote.Puller) error) error {
	r.mu.Lock()
	if r.puller == nil {
		var err error
		if r.puller, err = remote.NewPuller(r.options...); err != nil {
			r.mu.Unlock()
			return err
		}
	}
	puller := r.puller
	r.mu.Unlock()
	err := fn(puller)
	if err != nil {
		r.mu.Lock()
		if r.puller == puller {
			r.puller = nil
		}
		r.mu.Unlock()
	}
	return err
}

func (r *registry) resolve(ctx context.Context) (v1.Descriptor, []byte, error) {
	return r.get(ctx, r.ref)
}

func (r *registry) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	_, raw, err := r.get(ctx, r.ref.Context().Digest(d.Digest.String()))
	return raw, err
}

func (r *registry) get(ctx context.Context, ref name.Reference) (v1.Descriptor, []byte, error) {
	var desc *remote.Descriptor
	err := r.use(func(p *remote.Puller) (err error) {
		desc, err = p.Get(ctx, ref)
		return err
	})
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	if len(desc.Manifest) > maxManifestBytes {
		return v1.Descriptor{}, nil, fmt.Errorf("%w: its manifest has %d bytes", ErrInvalid, len(desc.Manifest))
	}
	return desc.Descriptor, desc.Manifest, checkDescriptor(desc.Descriptor)
}

func (r *registry) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	var body io.ReadCloser
	err := r.use(func(p *remote.Puller) error {
		layer, err := p.Layer(ctx, r.ref.Context().Digest(d.Digest.String()))
		if err == nil {
			body, err = layer.Compressed()
		}
		return err
	})
	return unverified{body}, err
}

// unverified leaves out that the library found another digest: the store verifies by
// itself, and can tell a body that was cut from one that is wrong.
type unverified struct{ io.ReadCloser }

func (u unverified) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err != nil && strings.HasPrefix(err.Error(), "error verifying ") {
		err = io.EOF
	}
	return n, err
}

// transient reports whether a failure may pass.
func transient(err error) bool {
	var (
		temporary interface{ Temporary() bool }
		netErr    net.Error
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, ErrInvalid), errors.Is(err, ErrNotFound):
		return false
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, errStalled),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return true
	case errors.As(err, &temporary) && temporary.Temporary():
		return true
	}
	return errors.As(err, &netErr) && netErr.Timeout()
}

// retry calls fn again while its failures may pass.
func (p patience) retry(ctx context.Context, fn func() error) error {
	for _, wait := range p.backoff {
		err := fn()
		if !transient(err) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
	return fn()
}
