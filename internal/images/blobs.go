package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

func (s *Store) blobPath(d v1.Hash) string {
	return filepath.Join(s.dir, "blobs", d.Algorithm, d.Hex)
}

func (s *Store) hasBlob(d v1.Descriptor) bool {
	fi, err := os.Stat(s.blobPath(d.Digest))
	return err == nil && fi.Mode().IsRegular() && fi.Size() == d.Size
}

// putBlob stores what r holds, if it is what the descriptor says. progress is
// told how many more bytes have arrived.
func (s *Store) putBlob(d v1.Descriptor, r io.Reader, progress func(n int64)) error {
	f, err := os.CreateTemp(s.tempDir(), "blob-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(f, sum), &countReader{r: io.LimitReader(r, d.Size+1), progress: progress}, make([]byte, 128<<10))
	switch {
	case err != nil:
		return err
	case n < d.Size:
		return fmt.Errorf("blob %s: %d of %d bytes came: %w", d.Digest, n, d.Size, io.ErrUnexpectedEOF)
	case n > d.Size:
		return fmt.Errorf("%w: blob %s is longer than the %d bytes that were declared", ErrInvalid, d.Digest, d.Size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.Digest.Hex {
		return fmt.Errorf("%w: a blob should have digest %s and has sha256:%s", ErrInvalid, d.Digest, got)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	path := s.blobPath(d.Digest)
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return state.SyncDir(filepath.Dir(path))
}

// readBlob returns a small blob, verified.
func (s *Store) readBlob(d v1.Hash, limit int64) ([]byte, error) {
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readVerified(f, d, limit)
}

// readVerified reads all of r, which must have the digest.
func readVerified(r io.Reader, d v1.Hash, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: blob %s is larger than %d bytes", ErrInvalid, d, limit)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != d.Hex {
		return nil, fmt.Errorf("%w: a blob should have digest %s and has sha256:%x", ErrInvalid, d, sum)
	}
	return b, nil
}

// checkBlob removes a blob that the disk has spoilt, and reports that it did.
func (s *Store) checkBlob(d v1.Descriptor) (spoilt bool) {
	f, err := os.Open(s.blobPath(d.Digest))
	if err != nil {
		return false
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	if hex.EncodeToString(sum.Sum(nil)) == d.Digest.Hex {
		return false
	}
	os.Remove(f.Name())
	return true
}

type countReader struct {
	r        io.Reader
	progress func(n int64)
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.progress(int64(n))
	return n, err
}

// putRaw stores the manifest of an image, after all that it names.
func (s *Store) putRaw(c *candidate) error {
	return s.putBlob(c.desc, bytes.NewReader(c.raw), func(int64) {})
}
