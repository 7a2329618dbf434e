package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// removeTimeout is how long Remove waits for another process.
const removeTimeout = 10 * time.Second

// Remove forgets an image, for all platforms, and deletes the blobs and bases
// that no other image of the store needs. The caller has made sure that nothing
// runs on it. freed is in bytes.
func (s *Store) Remove(ref string) (freed int64, err error) {
	r, err := parseReference(ref)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("remove image %s: %w", r.canonical, err)
	}
	defer release()

	s.mu.Lock()
	defer s.mu.Unlock()
	index, err := s.readIndex()
	if err != nil {
		return 0, fmt.Errorf("remove image %s: %w", r.canonical, err)
	}
	before := len(index.Manifests)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool {
		return d.Annotations[refNameAnnotation] == r.canonical
	})
	if len(index.Manifests) == before {
		return 0, fmt.Errorf("%w: %s is not in the store", ErrNotFound, r.canonical)
	}
	// The index first: a crash in the middle leaves files too many, not too few.
	if err := s.writeIndex(index); err != nil {
		return 0, fmt.Errorf("remove image %s: %w", r.canonical, err)
	}
	freed, err = s.collect(index)
	if err != nil {
		err = fmt.Errorf("remove image %s: %w", r.canonical, err)
	}
	return freed, err
}

// collect deletes what no image of the index and no Ensure under way needs.
func (s *Store) collect(index *v1.IndexManifest) (freed int64, err error) {
	keep := make(map[string]bool)
	for d := range s.inUse {
		keep[d] = true
	}
	for _, entry := range index.Manifests {
		keep[entry.Digest.Hex] = true
		raw, err := s.readBlob(entry.Digest, maxManifestBytes)
		if err != nil {
			continue // It is fetched again when it is needed.
		}
		m, err := parseManifest(raw)
		if err != nil {
			continue
		}
		for _, d := range blobsOf(m) {
			keep[d.Digest.Hex] = true
		}
	}
	for _, dir := range []string{filepath.Join(s.dir, "blobs", "sha256"), s.rootfsDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return freed, err
		}
		for _, e := range entries {
			// A blob is called DIGEST, a base sha256-DIGEST-vN.ext4.
			digest, _, _ := strings.Cut(strings.TrimPrefix(e.Name(), "sha256-"), "-")
			fi, err := e.Info()
			if err != nil || keep[digest] || !fi.Mode().IsRegular() {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return freed, err
			}
			freed += allocated(fi)
		}
	}
	return freed, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func openFile(path string) (io.ReadCloser, error) {
	return os.Open(path) //nolint:gosec // in the store
}
