package rootfs

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Layer is one layer of an image.
type Layer struct {
	// Name is what messages call it.
	Name string
	// DiffID is the SHA-256 of the layer's tar archive without compression, in
	// hexadecimal. It is verified.
	DiffID string
	// Open opens the layer's archive: tar, plain or compressed with gzip or
	// zstd, which is told by its content.
	Open func() (io.ReadCloser, error)
}

// maxWindow bounds the memory to decompress zstd.
const maxWindow = 64 << 20

// readLayer applies a layer to the tree and puts its files into the spool. At
// most limit bytes of archive are read.
func readLayer(ctx context.Context, t *tree, layer Layer, sp *spool, limit int64, progress func(n int64)) error {
	src, err := layer.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	plain, err := decompress(&ctxReader{ctx: ctx, r: src, progress: progress})
	if err != nil {
		return readError(ctx, layer.Name, "", err)
	}
	defer plain.Close()

	sum := sha256.New()
	archive := bufio.NewReaderSize(io.TeeReader(&limitReader{r: plain, n: limit}, sum), 256<<10)
	t.layer++
	tr := tar.NewReader(archive)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return readError(ctx, layer.Name, "", err)
		}
		ino, err := t.apply(hdr)
		if err != nil {
			return invalid(layer.Name, hdr.Name, err)
		}
		if ino == nil {
			continue
		}
		if ino.offset, err = sp.add(tr, ino.size); err != nil {
			if sp.err != nil {
				return sp.err
			}
			return readError(ctx, layer.Name, hdr.Name, err)
		}
	}
	// The padding after the archive's end belongs to its digest.
	if _, err := io.Copy(io.Discard, archive); err != nil {
		return readError(ctx, layer.Name, "", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != layer.DiffID {
		return invalid(layer.Name, "", fmt.Errorf("its content has digest sha256:%s, the image says sha256:%s", got, layer.DiffID))
	}
	return nil
}

func invalid(layer, entry string, err error) error {
	if entry == "" {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, layer, err)
	}
	if len(entry) > 200 {
		entry = entry[:200] + "…"
	}
	return fmt.Errorf("%w: %s: entry %q: %w", ErrInvalid, layer, entry, err)
}

// readError tells the end of our patience from a bad archive.
func readError(ctx context.Context, layer, entry string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the archive is truncated")
	}
	return invalid(layer, entry, err)
}

func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 256<<10)
	magic, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(br)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(br), nil
}

// ctxReader ends with its context and tells how much was read.
type ctxReader struct {
	ctx      context.Context
	r        io.Reader
	progress func(n int64)
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(p)
	if c.progress != nil {
		c.progress(int64(n))
	}
	return n, err
}

// limitReader fails, rather than ends, after n bytes.
type limitReader struct {
	r io.Reader
	n int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.n -= int64(n); l.n < 0 {
		return 0, errors.New("it unpacks to more than is allowed")
	}
	return n, err
}
