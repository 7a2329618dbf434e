// Package sparsefile copies large files that are mostly holes, such as disks.
package sparsefile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// pieceBytes is how much is copied between two looks at the context.
const pieceBytes = 4 << 20

// Copy makes a file at dst, which must not be there, with the content of the one
// at src, private to the user. Where the file system can share the blocks, it
// does; else holes stay holes. dst has its name only when it is whole.
func Copy(ctx context.Context, dst, src string) error {
	return copyFile(ctx, dst, src, func(*os.File) error { return nil })
}

// CopySync is Copy to a file that a crash of the host leaves whole: it is on the disk
// before it has its name, and that too before the call returns.
func CopySync(ctx context.Context, dst, src string) error {
	if err := copyFile(ctx, dst, src, (*os.File).Sync); err != nil {
		return err
	}
	return state.SyncDir(filepath.Dir(dst))
}

// RemovePartial removes what copies to dst have left that were cut off by the end of
// their process. None may be under way.
func RemovePartial(dst string) error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dst), tempName(dst)+"[0-9]*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// tempName is how the name of a copy begins that is not whole yet; digits follow.
func tempName(dst string) string { return "." + filepath.Base(dst) + "." }

func copyFile(ctx context.Context, dst, src string, finish func(out *os.File) error) error {
	in, err := os.Open(src) //nolint:gosec // the caller's own
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("copy %s: not a regular file", src)
	}
	out, err := os.CreateTemp(filepath.Dir(dst), tempName(dst)+"*")
	if err != nil {
		return err
	}
	defer func() {
		out.Close()
		_ = os.Remove(out.Name())
	}()
	if err := copyInto(ctx, out, in, info.Size()); err != nil {
		return fmt.Errorf("copy %s: %w", src, err)
	}
	if err := finish(out); err != nil {
		return fmt.Errorf("copy to %s: %w", dst, err)
	}
	if err := out.Close(); err != nil {
		return err
	}
	// Unlike a rename, a link replaces nothing.
	if err := os.Link(out.Name(), dst); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("copy to %s: %w", dst, fs.ErrExist)
		}
		return err
	}
	return nil
}

func copyInto(ctx context.Context, out, in *os.File, size int64) error {
	if share(out, in) {
		return nil
	}
	if err := out.Truncate(size); err != nil {
		return err
	}
	for off := int64(0); off < size; {
		data, end, err := nextData(in, off, size)
		if err != nil {
			return err
		}
		for data < end {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := copyPiece(out, in, data, min(end-data, pieceBytes))
			if err != nil {
				return err
			}
			if n == 0 {
				return io.ErrUnexpectedEOF
			}
			data += n
		}
		off = end
	}
	return nil
}

// copyPiece copies some bytes from one file to the same place in another.
func copyPiece(out, in *os.File, off, n int64) (int64, error) {
	return io.Copy(io.NewOffsetWriter(out, off), io.NewSectionReader(in, off, n))
}
