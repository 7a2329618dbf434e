package kernels

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

var (
	magicGzip = []byte{0x1f, 0x8b}
	magicXZ   = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	magicLZ4  = []byte{0x02, 0x21, 0x4c, 0x18} // legacy frame
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// errUnsupported means a compression that we cannot undo. The kernel itself may
// be fine.
var errUnsupported = errors.New("unsupported compression")

// maxWindow bounds the memory for one decompression: kernels are packed with
// windows of at most this.
const maxWindow = 128 << 20

// unpack writes the decompressed payload of a kernel to w, at most limit bytes.
// Every payload ends with its size when decompressed: of gzip that is part of
// the format, elsewhere the kernel's build adds it.
func unpack(w io.Writer, payload []byte, limit int64) error {
	if len(payload) < 8 {
		return fmt.Errorf("%w: the compressed kernel is truncated", ErrInvalid)
	}
	body := payload[:len(payload)-4]
	want := int64(binary.LittleEndian.Uint32(payload[len(body):]))
	if want > limit {
		return fmt.Errorf("%w: it would unpack to %d bytes, the limit is %d", ErrInvalid, want, limit)
	}
	r, err := decompressor(payload, body)
	if err != nil {
		return err
	}
	defer r.Close()
	out := &errWriter{w: w}
	n, err := io.Copy(out, io.LimitReader(r, want+1))
	switch {
	case out.err != nil:
		return out.err
	case err != nil && errors.Is(err, errUnsupported):
		return err
	case err != nil:
		return fmt.Errorf("%w: the compressed kernel is damaged: %w", ErrInvalid, err)
	case n != want:
		return fmt.Errorf("%w: the compressed kernel is damaged: %d bytes unpacked, %d expected", ErrInvalid, n, want)
	}
	return nil
}

// decompressor picks the format by its magic: gzip reads all of the payload,
// others what precedes the added size.
func decompressor(payload, body []byte) (io.ReadCloser, error) {
	switch {
	case bytes.HasPrefix(payload, magicGzip):
		z, err := gzip.NewReader(bytes.NewReader(payload))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return z, nil
	case bytes.HasPrefix(payload, magicXZ):
		return io.NopCloser(&xzReader{src: body}), nil
	case bytes.HasPrefix(payload, magicLZ4):
		return io.NopCloser(lz4.NewReader(bytes.NewReader(body))), nil
	case bytes.HasPrefix(payload, magicZstd):
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return z.IOReadCloser(), nil
	}
	return nil, errUnsupported
}

// xzReader reads xz, and calls what it cannot read unsupported: kernels are
// mostly packed with an additional filter for machine code that the library
// does not have.
type xzReader struct {
	src []byte
	r   io.Reader
}

func (x *xzReader) Read(p []byte) (int, error) {
	if x.r == nil {
		r, err := xz.NewReader(bytes.NewReader(x.src))
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errUnsupported, err)
		}
		x.r = r
	}
	n, err := x.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errUnsupported, err)
	}
	return n, err
}

// errWriter remembers an error of the destination, to tell it from one of the
// source.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(p []byte) (int, error) {
	n, err := e.w.Write(p)
	if err != nil {
		e.err = err
	}
	return n, err
}
