package images

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// PushOptions of one Push.
type PushOptions struct {
	// Platform is DefaultPlatform if empty.
	Platform string
	// Progress, if not nil, is called on a goroutine of Push's own.
	Progress func(Progress)
}

// Push sends an image of the store to the registry that its name is of, and returns
// the digest of its manifest there, which is the one that it has here. Blobs that
// the registry has are not sent.
func (s *Store) Push(ctx context.Context, ref string, opts PushOptions) (digest string, err error) {
	r, err := parseName(ref)
	if err != nil {
		return "", err
	}
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return "", fmt.Errorf("push image %s: %w", r.canonical, err)
	}
	defer release()
	c, _, err := s.stored(ref, opts.Platform)
	if err != nil {
		return "", err
	}
	defer s.use(c)()
	img, err := layout.Path(s.dir).Image(c.desc.Digest)
	if err != nil {
		return "", fmt.Errorf("push image %s: %w", r.canonical, err)
	}
	if err := s.push(ctx, r, img, opts.Progress); err != nil {
		return "", fmt.Errorf("push image %s: %w", r.canonical, classify(err, r.where()))
	}
	return c.desc.Digest.String(), nil
}

func (s *Store) push(ctx context.Context, r reference, img v1.Image, progress func(Progress)) error {
	options := append(s.remoteOptions(s.opts.Keychain), remote.WithContext(ctx))
	if progress == nil {
		return remote.Write(r.remote, img, options...)
	}
	updates := make(chan v1.Update, 16)
	done := make(chan struct{})
	go func() { // ends when Write closes the channel
		defer close(done)
		for u := range updates {
			progress(Progress{Stage: StagePushing, Complete: u.Complete, Total: u.Total})
		}
	}()
	err := remote.Write(r.remote, img, append(options, remote.WithProgress(updates))...)
	<-done
	return err
}
