package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerSource is what "docker save" writes. It has no manifest of the kind that
// registries have, so that one is made: the same archive always gives the same.
type dockerSource struct {
	files
	image *dockerImage       // nil: the only one
	blobs map[v1.Hash]string // file in the archive
}

func (d *dockerSource) resolve(ctx context.Context) (v1.Descriptor, []byte, error) {
	image := d.image
	if image == nil {
		saved, err := readDockerImages(d)
		if err != nil {
			return v1.Descriptor{}, nil, err
		}
		if len(saved) != 1 {
			return v1.Descriptor{}, nil, fmt.Errorf("%w: the archive holds %d images, want one", ErrInvalid, len(saved))
		}
		image = &saved[0]
	}
	config, err := readSmall(d, image.Config, maxConfigBytes)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	parsed, err := v1.ParseConfigFile(bytes.NewReader(config))
	if err != nil {
		return v1.Descriptor{}, nil, fmt.Errorf("%w: its config: %w", ErrInvalid, err)
	}
	layers := image.Layers
	if len(parsed.RootFS.DiffIDs) != len(layers) || len(layers) > maxLayers {
		return v1.Descriptor{}, nil, fmt.Errorf("%w: its config names %d layers, its manifest.json %d", ErrInvalid, len(parsed.RootFS.DiffIDs), len(layers))
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.DockerManifestSchema2, Config: describe(types.DockerConfigJSON, config)}
	d.blobs = map[v1.Hash]string{m.Config.Digest: image.Config}
	for i, name := range layers {
		desc, err := d.layer(ctx, name, parsed.RootFS.DiffIDs[i])
		if err != nil {
			return v1.Descriptor{}, nil, err
		}
		d.blobs[desc.Digest] = name
		m.Layers = append(m.Layers, desc)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	return describe(m.MediaType, raw), raw, nil
}

func describe(t types.MediaType, b []byte) v1.Descriptor {
	sum := sha256.Sum256(b)
	return v1.Descriptor{MediaType: t, Size: int64(len(b)), Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}}
}

// layer describes one of the archive's layers. Without compression its digest
// is the one in the config; otherwise it must be read.
func (d *dockerSource) layer(ctx context.Context, name string, diffID v1.Hash) (v1.Descriptor, error) {
	r, size, err := d.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return v1.Descriptor{}, fmt.Errorf("%w: it lacks layer %s", ErrInvalid, name)
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer r.Close()
	magic := make([]byte, 2)
	if _, err := io.ReadFull(r, magic); err != nil {
		return v1.Descriptor{}, fmt.Errorf("%w: layer %s is empty", ErrInvalid, name)
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) && !bytes.Equal(magic, []byte{0x28, 0xb5}) {
		return v1.Descriptor{MediaType: types.DockerUncompressedLayer, Size: size, Digest: diffID}, nil
	}
	sum := sha256.New()
	sum.Write(magic)
	if _, err := io.Copy(sum, &ctxReader{ctx, r}); err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: types.DockerLayer, Size: size, Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}}, nil
}

func (d *dockerSource) manifest(context.Context, v1.Descriptor) ([]byte, error) {
	return nil, fmt.Errorf("%w: a docker archive holds no index", ErrInvalid)
}

func (d *dockerSource) blob(_ context.Context, desc v1.Descriptor) (io.ReadCloser, error) {
	r, _, err := d.open(d.blobs[desc.Digest])
	return r, err
}

// ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
