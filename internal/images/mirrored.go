package images

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// mirrored is an image in a registry, and in its mirrors, which are asked first.
// Whatever comes from them is verified by the digest, but what a tag means is the
// word of the one that answers.
type mirrored struct {
	log  *slog.Logger
	from []*registry // mirrors, then the registry; those before the one that answered are gone
}

func (s *Store) openMirrored(ref name.Reference, keychain authn.Keychain) (*mirrored, error) {
	refs, err := s.reach.where(ref)
	if err != nil {
		return nil, err
	}
	m := &mirrored{log: s.log}
	for _, r := range refs {
		m.from = append(m.from, openRegistry(r, s.remoteOptions(keychain)))
	}
	return m, nil
}

// remoteOptions are how the library is to speak to registries.
func (s *Store) remoteOptions(keychain authn.Keychain) []remote.Option {
	return []remote.Option{
		remote.WithAuthFromKeychain(keychain),
		remote.WithTransport(&resumer{next: s.reach, patience: s.patience}),
		remote.WithUserAgent("vzreconciler"),
		// Retries are ours: see retry.
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	}
}

func (m *mirrored) Close() error { return nil }

func (m *mirrored) resolve(ctx context.Context) (d v1.Descriptor, raw []byte, err error) {
	err = m.try(ctx, func(r *registry) error {
		d, raw, err = r.resolve(ctx)
		return err
	}, true)
	return d, raw, err
}

func (m *mirrored) manifest(ctx context.Context, d v1.Descriptor) (raw []byte, err error) {
	err = m.try(ctx, func(r *registry) error {
		raw, err = r.manifest(ctx, d)
		return err
	}, false)
	return raw, err
}

func (m *mirrored) blob(ctx context.Context, d v1.Descriptor) (body io.ReadCloser, err error) {
	err = m.try(ctx, func(r *registry) error {
		body, err = r.blob(ctx, d)
		return err
	}, false)
	return body, err
}

// try asks one after the other until one can do it. The error is that of the last,
// the registry itself. With settle, those that could not are not asked again.
func (m *mirrored) try(ctx context.Context, fn func(*registry) error, settle bool) error {
	for i, r := range m.from {
		err := fn(r)
		last := i == len(m.from)-1
		if err == nil || last || ctx.Err() != nil || errors.Is(err, context.Canceled) {
			if err == nil && settle {
				m.from = m.from[i:]
			}
			return err
		}
		m.log.Warn("a mirror does not have it: the next is asked", "mirror", r.ref.Context().RegistryStr(), "image", r.ref.Name(), "error", err)
	}
	return nil
}
