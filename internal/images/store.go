package images

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vzreconciler/vzreconciler/internal/rootfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// Options of a Store. The zero value has defaults for all.
type Options struct {
	Log *slog.Logger
	// MaxConcurrentPulls is how many images are fetched or unpacked at once; 0
	// means 2.
	MaxConcurrentPulls int
	// Keychain has the credentials for registries; nil means those that "docker
	// login" and "podman login" keep for the user.
	Keychain authn.Keychain
	// Registries says how registries are reached that are not reached by their name
	// over verified TLS.
	Registries Registries
	// MaxUnpackedBytes limits what one image unpacks to; 0 means 64 GiB.
	MaxUnpackedBytes int64
	// MinFreeBytes stay free on the disk while an image is unpacked; 0 means
	// 256 MiB, less than 0 none.
	MinFreeBytes int64
}

// Store is a directory of images. It is safe for concurrent use.
type Store struct {
	dir      string
	log      *slog.Logger
	opts     Options
	slots    chan struct{}
	reach    *reach
	patience patience
	lock     processLock
	calls    flights

	mu sync.Mutex
	// inUse counts the Ensures that need a blob or base, by digest in
	// hexadecimal: Remove leaves those.
	inUse map[string]int
}

// Open returns the store in dir, which is made if it does not exist, and clears
// what was interrupted.
func Open(dir string, opts Options) (*Store, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxConcurrentPulls == 0 {
		opts.MaxConcurrentPulls = 2
	}
	if opts.Keychain == nil {
		opts.Keychain = authn.DefaultKeychain
	}
	if opts.MinFreeBytes == 0 {
		opts.MinFreeBytes = 256 << 20
	}
	s := &Store{
		dir: dir, log: opts.Log, opts: opts, slots: make(chan struct{}, opts.MaxConcurrentPulls),
		patience: defaultPatience(), inUse: make(map[string]int),
		lock: processLock{path: filepath.Join(dir, ".lock"), turn: make(chan struct{}, 1)},
	}
	var err error
	if s.reach, err = newReach(opts.Registries); err == nil {
		err = s.prepare()
	}
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	return s, nil
}

func (s *Store) prepare() error {
	for _, d := range []string{filepath.Join(s.dir, "blobs", "sha256"), s.rootfsDir(), s.tempDir()} {
		if err := state.MkdirAll(d); err != nil {
			return err
		}
	}
	unlock, err := state.TryLock(s.lock.path)
	if errors.Is(err, state.ErrLocked) {
		return nil // Another process is at work: what is in tmp may be its.
	}
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	left, err := os.ReadDir(s.tempDir())
	if err != nil {
		return err
	}
	for _, e := range left {
		s.log.Info("removing what an interrupted pull left", "file", e.Name())
		if err := os.RemoveAll(filepath.Join(s.tempDir(), e.Name())); err != nil {
			return err
		}
	}
	return state.WriteFile(filepath.Join(s.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`+"\n"))
}

func (s *Store) tempDir() string   { return filepath.Join(s.dir, "tmp") }
func (s *Store) rootfsDir() string { return filepath.Join(s.dir, "rootfs") }

func (s *Store) rootfsPath(d v1.Hash) string {
	return filepath.Join(s.rootfsDir(), fmt.Sprintf("%s-%s-v%d.ext4", d.Algorithm, d.Hex, rootfs.FormatVersion))
}

// Get returns an image that is in the store; platform "" means DefaultPlatform.
// If there is none, the error wraps ErrNotFound.
func (s *Store) Get(ref, platform string) (*Image, error) {
	r, p, err := parse(ref, platform)
	if err != nil {
		return nil, err
	}
	entry, err := s.find(r.canonical, p)
	if err != nil {
		return nil, err
	}
	img, err := s.image(entry)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(img.Rootfs); err != nil {
		return nil, fmt.Errorf("%w: %s (%s) is not unpacked: pull it again", ErrNotFound, r.canonical, p.String())
	}
	return img, nil
}

// List returns all images, sorted by reference. Those that cannot be read are
// left out and reported by the error, beside those that can.
func (s *Store) List() ([]*Image, error) {
	index, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var (
		images []*Image
		errs   []error
	)
	for _, entry := range index.Manifests {
		img, err := s.image(entry)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		images = append(images, img)
	}
	slices.SortFunc(images, func(a, b *Image) int {
		return strings.Compare(a.Reference+" "+a.Platform, b.Reference+" "+b.Platform)
	})
	return images, errors.Join(errs...)
}

// parse reads a reference and a platform.
func parse(ref, platform string) (reference, v1.Platform, error) {
	r, err := parseReference(ref)
	if err != nil {
		return reference{}, v1.Platform{}, err
	}
	p, err := parsePlatform(cmp.Or(platform, DefaultPlatform()))
	return r, p, err
}

// image reads what the store has for an entry of its index.
func (s *Store) image(entry v1.Descriptor) (*Image, error) {
	ref := entry.Annotations[refNameAnnotation]
	if entry.Platform == nil {
		return nil, fmt.Errorf("image %s: its entry in index.json has no platform: remove it and pull it again", ref)
	}
	m, config, err := s.read(entry)
	if err != nil {
		return nil, fmt.Errorf("image %s: its files are damaged (%w): pull it again", ref, err)
	}
	img := &Image{
		Reference: ref, Digest: entry.Digest.String(), Platform: entry.Platform.String(),
		Config: newConfig(config), Rootfs: s.rootfsPath(entry.Digest), SizeBytes: entry.Size,
	}
	for _, d := range blobsOf(m) {
		img.SizeBytes += d.Size
	}
	if fi, err := os.Stat(img.Rootfs); err == nil {
		img.UnpackedBytes = allocated(fi)
	}
	if at, err := time.Parse(time.RFC3339, entry.Annotations[pulledAtAnnotation]); err == nil {
		img.PulledAt = at
	}
	return img, nil
}

// read returns a stored image's manifest and config.
func (s *Store) read(desc v1.Descriptor) (*v1.Manifest, *v1.ConfigFile, error) {
	if err := checkDescriptor(desc); err != nil {
		return nil, nil, err
	}
	raw, err := s.readBlob(desc.Digest, maxManifestBytes)
	if err != nil {
		return nil, nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, nil, err
	}
	rawConfig, err := s.readBlob(m.Config.Digest, maxConfigBytes)
	if err != nil {
		return nil, nil, err
	}
	config, err := parseConfig(rawConfig, m)
	return m, config, err
}

// allocated is what a file takes on the disk, without its holes.
func allocated(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return fi.Size()
}

// Describe returns the manifest and the config of an image that is in the store, JSON
// as its source has them; platform "" means DefaultPlatform.
func (s *Store) Describe(ref, platform string) (manifest, config []byte, err error) {
	r, p, err := parse(ref, platform)
	if err != nil {
		return nil, nil, err
	}
	entry, err := s.find(r.canonical, p)
	if err != nil {
		return nil, nil, err
	}
	m, _, err := s.read(entry) // which checks both
	if err == nil {
		manifest, err = s.readBlob(entry.Digest, maxManifestBytes)
	}
	if err == nil {
		config, err = s.readBlob(m.Config.Digest, maxConfigBytes)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("image %s: its files are damaged (%w): pull it again", r.canonical, err)
	}
	return manifest, config, nil
}
