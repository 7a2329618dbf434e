package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/vzreconciler/vzreconciler/internal/rootfs"
)

// PullPolicy says when a registry is asked, as in a Pod.
type PullPolicy string

// The policies. A local source is looked at in any case but Never: that costs
// little, and what it holds may change.
const (
	Always       PullPolicy = "Always"
	IfNotPresent PullPolicy = "IfNotPresent"
	Never        PullPolicy = "Never"
)

// EnsureOptions of one Ensure.
type EnsureOptions struct {
	// Policy is IfNotPresent if empty.
	Policy PullPolicy
	// Platform is DefaultPlatform if empty.
	Platform string
	// Secrets are credentials that come before those of the store's keychain.
	Secrets []PullSecret
	// Progress, if not nil, is called on the caller's goroutine.
	Progress func(Progress)
}

// Ensure returns the image that ref means, fetched and unpacked as needed. Calls
// for one image share the work, which goes on while one of them waits.
func (s *Store) Ensure(ctx context.Context, ref string, opts EnsureOptions) (*Image, error) {
	if opts.Policy == "" {
		opts.Policy = IfNotPresent
	}
	switch opts.Policy {
	case Always, IfNotPresent, Never:
	default:
		return nil, fmt.Errorf("%w: pull policy %q, want Always, IfNotPresent or Never", ErrInvalid, opts.Policy)
	}
	r, platform, err := parse(ref, opts.Platform)
	if err != nil {
		return nil, err
	}
	keychain, err := newKeychain(opts.Secrets, s.opts.Keychain)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", r.canonical, err)
	}
	key := fmt.Sprintf("ref %s %s %s %x", r.canonical, platform.String(), opts.Policy, keychain.hash)
	img, err := s.calls.do(ctx, key, opts.Progress, func(ctx context.Context, report func(Progress)) (*Image, error) {
		return s.ensure(ctx, r, platform, opts.Policy, keychain, report)
	})
	if err != nil {
		if err = classify(err, r.where()); errors.Is(err, ErrNoSpace) {
			err = fmt.Errorf("%w: free some below %s", err, s.dir)
		}
		return nil, fmt.Errorf("image %s: %w", r.canonical, err)
	}
	return img, nil
}

func (s *Store) ensure(ctx context.Context, ref reference, platform v1.Platform, policy PullPolicy, keychain authn.Keychain, report func(Progress)) (*Image, error) {
	report(Progress{Stage: StageResolving})
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()

	c, err := s.local(ref, platform)
	if err != nil {
		return nil, err
	}
	switch {
	case policy == Never && c == nil:
		return nil, fmt.Errorf("%w: it is not in the store, and its pull policy is Never", ErrNotFound)
	case c != nil && (policy == Never || !ref.local() && (policy == IfNotPresent || ref.pinned())):
	default:
		src, err := s.open(ref, keychain)
		if err != nil {
			return nil, err
		}
		defer src.Close()
		if c, err = s.resolve(ctx, src, platform); err != nil {
			return nil, err
		}
	}
	return s.keep(ctx, c, ref.canonical, ref.where(), report)
}

// keep makes a candidate complete and gives it a name in the store.
func (s *Store) keep(ctx context.Context, c *candidate, canonical, where string, report func(Progress)) (*Image, error) {
	defer s.use(c)()

	// Two references may mean one image: the work is done once for each digest.
	_, err := s.calls.do(ctx, "digest "+c.desc.Digest.String(), report, func(ctx context.Context, report func(Progress)) (*Image, error) {
		return &Image{}, s.bring(ctx, c, where, report)
	})
	if err != nil {
		return nil, err
	}
	if err := s.record(canonical, c); err != nil {
		return nil, err
	}
	report(Progress{Stage: StageDone})
	entry, err := s.find(canonical, c.platform)
	if err != nil {
		return nil, err
	}
	return s.image(entry)
}

// local returns the image as the store has it, or nil if it is not there whole.
func (s *Store) local(ref reference, platform v1.Platform) (*candidate, error) {
	index, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	entry := findEntry(index, ref.canonical, platform)
	if entry == nil {
		return nil, nil
	}
	m, _, err := s.read(*entry)
	if err != nil {
		s.log.Warn("an image in the store is damaged; it is fetched again", "image", ref.canonical, "error", err)
		return nil, nil
	}
	for _, d := range m.Layers {
		if !s.hasBlob(d) && !exists(s.rootfsPath(entry.Digest)) {
			return nil, nil
		}
	}
	return &candidate{desc: *entry, manifest: m, platform: *entry.Platform}, nil
}

func (s *Store) open(ref reference, keychain authn.Keychain) (source, error) {
	switch ref.scheme {
	case ociLayout:
		dir, err := openDir(ref.path)
		return &ociSource{files: dir, tag: ref.tag}, err
	case ociArchive:
		archive, err := openTar(ref.path)
		return &ociSource{files: archive, tag: ref.tag}, err
	case dockerArchive:
		archive, err := openTar(ref.path)
		return &dockerSource{files: archive}, err
	}
	return s.openMirrored(ref.remote, keychain)
}

// resolve asks the source what the reference means, for a limited time.
func (s *Store) resolve(ctx context.Context, src source, platform v1.Platform) (c *candidate, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience.resolve)
	defer cancel()
	err = s.patience.retry(ctx, func() error {
		c, err = choose(ctx, src, platform)
		return err
	})
	return c, err
}

// use keeps Remove away from an image's files until the returned function is called.
func (s *Store) use(c *candidate) (done func()) {
	digests := []string{c.desc.Digest.Hex}
	for _, d := range blobsOf(c.manifest) {
		digests = append(digests, d.Digest.Hex)
	}
	add := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, d := range digests {
			if s.inUse[d] += n; s.inUse[d] == 0 {
				delete(s.inUse, d)
			}
		}
	}
	add(1)
	return func() { add(-1) }
}

// bring makes an image complete: all blobs, and its base.
func (s *Store) bring(ctx context.Context, c *candidate, where string, report func(Progress)) error {
	if exists(s.rootfsPath(c.desc.Digest)) && s.complete(c) {
		return nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	config, err := s.fetch(ctx, c, report)
	if err != nil {
		return classify(err, where)
	}
	if exists(s.rootfsPath(c.desc.Digest)) {
		return nil
	}
	start := time.Now()
	if err := s.unpack(ctx, c, config, report); err != nil {
		return err
	}
	s.log.Info("image unpacked", "digest", c.desc.Digest.String(), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// complete reports whether all that describes the image is there. Layers are of
// no more use to an image that is unpacked.
func (s *Store) complete(c *candidate) bool {
	return s.hasBlob(c.desc) && s.hasBlob(c.manifest.Config)
}

// fetch brings the blobs that are missing, the config first: it tells whether
// the rest is worth it.
func (s *Store) fetch(ctx context.Context, c *candidate, report func(Progress)) (*v1.ConfigFile, error) {
	meter := newMeter(StagePulling, report)
	if err := s.fetchBlob(ctx, c, c.manifest.Config, meter); err != nil {
		return nil, err
	}
	raw, err := s.readBlob(c.manifest.Config.Digest, maxConfigBytes)
	if err != nil {
		return nil, err
	}
	config, err := parseConfig(raw, c.manifest)
	if err != nil {
		return nil, err
	}
	have := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	if have.Architecture != "" && !satisfies(have, c.platform) {
		return nil, fmt.Errorf("%w: it is made for %s, not for %s", ErrNotFound, have.String(), c.platform.String())
	}

	missing := make(map[v1.Hash]v1.Descriptor)
	for _, d := range c.manifest.Layers {
		if !s.hasBlob(d) {
			missing[d.Digest] = d
			meter.total += d.Size
		}
	}
	if free, err := rootfs.Free(s.dir); err == nil && free-max(s.opts.MinFreeBytes, 0) < meter.total {
		return nil, fmt.Errorf("%w: its download takes %d MiB; %d MiB are free, of which %d MiB stay in reserve",
			ErrNoSpace, meter.total>>20, free>>20, s.opts.MinFreeBytes>>20)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(3)
	for _, d := range missing {
		group.Go(func() error { return s.fetchBlob(gctx, c, d, meter) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if c.raw != nil && !s.hasBlob(c.desc) {
		return config, s.putRaw(c)
	}
	return config, nil
}

func (s *Store) fetchBlob(ctx context.Context, c *candidate, d v1.Descriptor, meter *meter) error {
	if s.hasBlob(d) {
		return nil
	}
	if c.source == nil {
		return fmt.Errorf("%w: blob %s is gone from the store: pull the image again", ErrNotFound, d.Digest)
	}
	return s.patience.retry(ctx, func() error {
		var got int64
		r, err := c.source.blob(ctx, d)
		if err == nil {
			err = s.putBlob(d, &ctxReader{ctx, r}, func(n int64) { got += n; meter.add(n) })
			err = errors.Join(err, r.Close())
		}
		if err == nil {
			return nil
		}
		meter.add(-got)
		if _, remote := c.source.(*mirrored); !remote && errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it is truncated: %w", ErrInvalid, err)
		}
		return err
	})
}

// unpack writes the image's base.
func (s *Store) unpack(ctx context.Context, c *candidate, config *v1.ConfigFile, report func(Progress)) error {
	meter := newMeter(StageUnpacking, report)
	layers := make([]rootfs.Layer, len(c.manifest.Layers))
	for i, d := range c.manifest.Layers {
		meter.total += d.Size
		layers[i] = rootfs.Layer{
			Name:   fmt.Sprintf("layer %d of %d (sha256:%.12s)", i+1, len(layers), d.Digest.Hex),
			DiffID: config.RootFS.DiffIDs[i].Hex,
			Open:   func() (io.ReadCloser, error) { return openFile(s.blobPath(d.Digest)) },
		}
	}
	meter.add(0)
	err := rootfs.Build(ctx, s.rootfsPath(c.desc.Digest), layers, rootfs.Options{
		TempDir: s.tempDir(), MaxBytes: s.opts.MaxUnpackedBytes, MinFree: max(s.opts.MinFreeBytes, 0), Progress: meter.add,
	})
	// Unpacking takes far more memory than all else a daemon does: give it back.
	debug.FreeOSMemory()
	if !errors.Is(err, rootfs.ErrInvalid) {
		return err
	}
	for _, d := range c.manifest.Layers {
		if s.checkBlob(d) {
			return fmt.Errorf("blob %s was damaged on the disk and has been removed: pull the image again", d.Digest)
		}
	}
	return err
}

// meter adds up bytes and reports them, not too often.
type meter struct {
	report func(Progress)

	mu       sync.Mutex
	stage    string
	total    int64
	complete int64
	reported time.Time
}

func newMeter(stage string, report func(Progress)) *meter {
	return &meter{stage: stage, report: report}
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.complete += n
	if now := time.Now(); now.Sub(m.reported) > 100*time.Millisecond || m.complete >= m.total {
		m.reported = now
		m.report(Progress{Stage: m.stage, Complete: min(m.complete, m.total), Total: m.total})
	}
}
