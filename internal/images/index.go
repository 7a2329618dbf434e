package images

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// Annotations of index.json: the first is OCI's own.
const (
	refNameAnnotation  = "org.opencontainers.image.ref.name"
	pulledAtAnnotation = "dev.vzreconciler.image.pulled-at"
)

// readIndex reads index.json, which names an image for each reference and platform.
func (s *Store) readIndex() (*v1.IndexManifest, error) {
	index := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	err := state.ReadJSON(filepath.Join(s.dir, "index.json"), index)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image store: %w", err)
	}
	return index, nil
}

func (s *Store) writeIndex(index *v1.IndexManifest) error {
	return state.WriteJSON(filepath.Join(s.dir, "index.json"), index)
}

// findEntry returns the index's entry for a reference and platform, or nil.
func findEntry(index *v1.IndexManifest, ref string, platform v1.Platform) *v1.Descriptor {
	for i := range index.Manifests {
		d := &index.Manifests[i]
		if d.Annotations[refNameAnnotation] == ref && d.Platform != nil && satisfies(*d.Platform, platform) {
			return d
		}
	}
	return nil
}

// find reads the index's entry for a reference and platform.
func (s *Store) find(canonical string, platform v1.Platform) (v1.Descriptor, error) {
	index, err := s.readIndex()
	if err != nil {
		return v1.Descriptor{}, err
	}
	entry := findEntry(index, canonical, platform)
	if entry == nil {
		return v1.Descriptor{}, fmt.Errorf("%w: %s (%s) is not in the store", ErrNotFound, canonical, platform.String())
	}
	return *entry, nil
}

// record makes the index name an image for a reference.
func (s *Store) record(ref string, c *candidate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	entry := findEntry(index, ref, c.platform)
	if entry != nil && entry.Digest == c.desc.Digest {
		return nil
	}
	if entry == nil {
		index.Manifests = append(index.Manifests, v1.Descriptor{})
		entry = &index.Manifests[len(index.Manifests)-1]
	}
	platform := c.platform
	*entry = v1.Descriptor{
		MediaType: c.desc.MediaType, Digest: c.desc.Digest, Size: c.desc.Size, Platform: &platform,
		Annotations: map[string]string{refNameAnnotation: ref, pulledAtAnnotation: time.Now().UTC().Format(time.RFC3339)},
	}
	return s.writeIndex(index)
}
