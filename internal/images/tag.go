package images

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Tag gives an image of the store one more name, for each platform that the store
// has of it. What had that name before is still there under its others, if any.
// The error wraps ErrNotFound if there is no such image, ErrInvalid if the name is
// none that an image can be given.
func (s *Store) Tag(ctx context.Context, ref, name string) error {
	r, err := parseReference(ref)
	if err != nil {
		return err
	}
	to, err := parseName(name)
	if err != nil {
		return err
	}
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return fmt.Errorf("tag image %s: %w", r.canonical, err)
	}
	defer release()
	entries, err := s.entries(r.canonical)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := s.record(to.canonical, &candidate{desc: entry, platform: *entry.Platform}); err != nil {
			return fmt.Errorf("tag image %s: %w", r.canonical, err)
		}
	}
	return nil
}

// parseName reads a name that the store may give an image: that of a place in a
// registry, without a digest, since that is not for us to choose.
func parseName(name string) (reference, error) {
	r, err := parseReference(name)
	if err != nil {
		return reference{}, err
	}
	if r.local() || r.pinned() {
		return reference{}, fmt.Errorf("%w: an image cannot be given the name %q, only one like REGISTRY/NAME:TAG", ErrInvalid, name)
	}
	return r, nil
}

// entries returns what the index has for a reference: one entry for each platform.
func (s *Store) entries(canonical string) ([]v1.Descriptor, error) {
	index, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var found []v1.Descriptor
	for _, d := range index.Manifests {
		if d.Annotations[refNameAnnotation] == canonical && d.Platform != nil {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %s is not in the store", ErrNotFound, canonical)
	}
	return found, nil
}
