package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// fixedLayer is a layer of given bytes.
type fixedLayer struct {
	stored, plain []byte
	mediaType     types.MediaType
}

func hashOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

func (l fixedLayer) Digest() (v1.Hash, error) { return hashOf(l.stored), nil }
func (l fixedLayer) DiffID() (v1.Hash, error) { return hashOf(l.plain), nil }
func (l fixedLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.stored)), nil
}

func (l fixedLayer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.plain)), nil
}
func (l fixedLayer) Size() (int64, error)                { return int64(len(l.stored)), nil }
func (l fixedLayer) MediaType() (types.MediaType, error) { return l.mediaType, nil }

func zstdLayer(t testing.TB, plain []byte) v1.Layer {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return fixedLayer{stored: w.EncodeAll(plain, nil), plain: plain, mediaType: types.OCILayerZStd}
}
