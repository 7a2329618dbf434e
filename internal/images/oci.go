package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ociSource is an OCI image layout, in a directory or in an archive.
type ociSource struct {
	files
	tag string
}

// readIndex reads the layout's index.json.
func (o *ociSource) readIndex() (index v1.IndexManifest, raw []byte, err error) {
	if raw, err = readSmall(o, "index.json", maxManifestBytes); err != nil {
		return index, nil, err
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return index, nil, fmt.Errorf("%w: its index.json: %w", ErrInvalid, err)
	}
	return index, raw, nil
}

func (o *ociSource) resolve(ctx context.Context) (v1.Descriptor, []byte, error) {
	index, raw, err := o.readIndex()
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	d, whole, err := o.choose(index.Manifests)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	if whole {
		return v1.Descriptor{MediaType: types.OCIImageIndex}, raw, nil
	}
	d.Size = min(d.Size, maxManifestBytes)
	if err := checkDescriptor(d); err != nil {
		return v1.Descriptor{}, nil, err
	}
	raw, err = o.manifest(ctx, d)
	return d, raw, err
}

// choose picks the manifest with the tag; without a tag, the only one there is,
// or the whole index if it has one image for several platforms.
func (o *ociSource) choose(manifests []v1.Descriptor) (d v1.Descriptor, whole bool, err error) {
	if o.tag == "" && len(manifests) == 1 {
		return manifests[0], false, nil
	}
	var tags []string
	platforms := len(manifests) > 0
	for _, d := range manifests {
		tag := d.Annotations[refNameAnnotation]
		if o.tag != "" && tag == o.tag {
			return d, false, nil
		}
		if tag != "" {
			tags = append(tags, tag)
		}
		platforms = platforms && d.Platform != nil && tag == ""
	}
	switch {
	case len(manifests) == 0:
		return d, false, fmt.Errorf("%w: it holds no image", ErrInvalid)
	case o.tag != "":
		return d, false, fmt.Errorf("%w: it has no tag %q, its tags are: %s", ErrNotFound, o.tag, strings.Join(tags, ", "))
	case platforms:
		return d, true, nil
	}
	return d, false, fmt.Errorf("%w: it holds %d images, add one of its tags: %s", ErrInvalid, len(manifests), strings.Join(tags, ", "))
}

func (o *ociSource) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	r, err := o.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readVerified(r, d.Digest, maxManifestBytes)
}

func (o *ociSource) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r, _, err := o.open("blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it lacks blob %s", ErrInvalid, d.Digest)
	}
	return r, err
}
