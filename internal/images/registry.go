package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
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

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    2 * dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
	}
}

// registry is an image in a registry.
type registry struct {
	ref      name.Reference
	options  []remote.Option
	puller   *remote.Puller
	patience patience
}

func openRegistry(ref name.Reference, keychain authn.Keychain, rt http.RoundTripper, p patience) *registry {
	return &registry{ref: ref, patience: p, options: []remote.Option{
		remote.WithAuthFromKeychain(keychain),
		remote.WithTransport(rt),
		remote.WithUserAgent("vzreconciler"),
		// Retries are ours: see retry.
		remote.WithRetryBackoff(remote.Backoff{Duration: time.Millisecond, Steps: 1}),
	}}
}

func (r *registry) Close() error { return nil }

func (r *registry) resolve(ctx context.Context) (v1.Descriptor, []byte, error) {
	// A puller remembers a failed log-in: each try has its own.
	puller, err := remote.NewPuller(r.options...)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	r.puller = puller
	return r.get(ctx, r.ref)
}

func (r *registry) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	_, raw, err := r.get(ctx, r.ref.Context().Digest(d.Digest.String()))
	return raw, err
}

func (r *registry) get(ctx context.Context, ref name.Reference) (v1.Descriptor, []byte, error) {
	desc, err := r.puller.Get(ctx, ref)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	if len(desc.Manifest) > maxManifestBytes {
		return v1.Descriptor{}, nil, fmt.Errorf("%w: its manifest has %d bytes", ErrInvalid, len(desc.Manifest))
	}
	return desc.Descriptor, desc.Manifest, checkDescriptor(desc.Descriptor)
}

func (r *registry) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(r.patience.stall, func() { cancel(errStalled) })
	stop := func() {
		timer.Stop()
		cancel(nil)
	}
	layer, err := r.puller.Layer(ctx, r.ref.Context().Digest(d.Digest.String()))
	if err != nil {
		stop()
		return nil, err
	}
	body, err := layer.Compressed()
	if err != nil {
		err = stalled(ctx, err)
		stop()
		return nil, err
	}
	return &stallReader{ReadCloser: body, ctx: ctx, timer: timer, stall: r.patience.stall, stop: stop}, nil
}

// stallReader ends a download on which nothing arrives for a while, however
// long all of it may take.
type stallReader struct {
	io.ReadCloser
	ctx   context.Context
	timer *time.Timer
	stall time.Duration
	stop  func()
}

func (s *stallReader) Read(p []byte) (int, error) {
	s.timer.Reset(s.stall)
	n, err := s.ReadCloser.Read(p)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case strings.HasPrefix(err.Error(), "error verifying "):
		// The library found another digest. The store verifies by itself, and
		// can tell a body that was cut from one that is wrong.
		return n, io.EOF
	}
	return n, stalled(s.ctx, err)
}

func (s *stallReader) Close() error {
	defer s.stop()
	return s.ReadCloser.Close()
}

// stalled returns errStalled in place of the error that it caused.
func stalled(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
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
