package images

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// source is a place that images come from.
type source interface {
	// resolve finds the manifest that the reference means now.
	resolve(ctx context.Context) (v1.Descriptor, []byte, error)
	// manifest returns a manifest by digest, verified.
	manifest(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// blob opens a blob. The caller verifies it.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	io.Closer
}

// candidate is an image that a source offers, for one platform.
type candidate struct {
	source   source
	desc     v1.Descriptor
	raw      []byte
	manifest *v1.Manifest
	platform v1.Platform
}

// maxIndexDepth bounds how many indexes may lie in one another.
const maxIndexDepth = 4

// choose resolves a reference to the manifest for the platform.
func choose(ctx context.Context, src source, platform v1.Platform) (*candidate, error) {
	desc, raw, err := src.resolve(ctx)
	if err != nil {
		return nil, err
	}
	for range maxIndexDepth {
		if !desc.MediaType.IsIndex() {
			m, err := parseManifest(raw)
			if err != nil {
				return nil, err
			}
			desc.Size = int64(len(raw))
			return &candidate{source: src, desc: desc, raw: raw, manifest: m, platform: platform}, nil
		}
		desc, err = pick(raw, platform)
		if err != nil {
			return nil, err
		}
		if raw, err = src.manifest(ctx, desc); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: more than %d indexes lie in one another", ErrInvalid, maxIndexDepth)
}

// pick returns an index's entry for the platform.
func pick(raw []byte, platform v1.Platform) (v1.Descriptor, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return v1.Descriptor{}, fmt.Errorf("%w: its index: %w", ErrInvalid, err)
	}
	var offers []string
	for _, d := range index.Manifests {
		if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			continue
		}
		if d.Platform == nil {
			if len(index.Manifests) > 1 {
				continue
			}
		} else if !satisfies(*d.Platform, platform) {
			if d.Platform.OS != "unknown" {
				offers = append(offers, d.Platform.String())
			}
			continue
		}
		d.Size = min(d.Size, maxManifestBytes)
		return d, checkDescriptor(d)
	}
	return v1.Descriptor{}, fmt.Errorf("%w: it is not made for %s, only for: %s", ErrNotFound, platform.String(), strings.Join(offers, ", "))
}
