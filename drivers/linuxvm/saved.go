package linuxvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// The files of a saved state, beside the writable disk, which is called DiskFile
// as in a bundle.
const (
	// savedFile says what the others are: without it there is no saved state.
	savedFile = "state.json"
	// memoryFile is the hypervisor's.
	memoryFile = "memory"
)

const (
	savedVersion = 1
	// maxSaved bounds savedFile: its processes are bounded in number.
	maxSaved = 16 << 20
)

// saved is the content of savedFile.
type saved struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	// Runtime is the name of the one that saved it.
	Runtime string `json:"runtime"`
	// Machine is what went on in the sandbox. Its configuration is what is Restorable
	// of it.
	Machine record `json:"machine"`
	Memory  part   `json:"memory"`
	// DiskBytes is the size of the writable disk.
	DiskBytes int64 `json:"diskBytes"`
	// Bases are the read-only disks by serial: the guest has them mounted.
	Bases map[string]base `json:"bases,omitempty"`
}

// part is a file of a saved state.
type part struct {
	Bytes int64 `json:"bytes"`
	// CRC32C finds what went wrong by accident.
	CRC32C uint32 `json:"crc32c"`
}

// base tells one read-only disk from another.
type base struct {
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
}

// basesOf looks at the read-only disks of a configuration.
func basesOf(c drivers.Configuration) (map[string]base, error) {
	bases := map[string]base{}
	list, _ := disks(c, "", "")
	for _, d := range list {
		if !d.ReadOnly {
			continue
		}
		info, err := os.Stat(d.Path)
		if err != nil {
			return nil, fmt.Errorf("root filesystem: %w", notFound(err))
		}
		bases[d.Serial] = base{Bytes: info.Size(), Modified: info.ModTime().UTC()}
	}
	return bases, nil
}

// newPart looks at a file that was just written.
func newPart(ctx context.Context, f *os.File) (part, error) {
	info, err := f.Stat()
	if err != nil {
		return part{}, err
	}
	sum, err := checksum(ctx, f, info.Size())
	return part{Bytes: info.Size(), CRC32C: sum}, err
}

// checksum reads so many bytes from the start of a file.
func checksum(ctx context.Context, f *os.File, n int64) (uint32, error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for off := int64(0); off < n; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		m, err := io.Copy(sum, io.NewSectionReader(f, off, min(n-off, 8<<20)))
		if err == nil && m == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		off += m
	}
	return sum.Sum32(), nil
}

// checkSaved reads what was saved in dir and sees that it is whole and that a
// sandbox of the given configuration can go on from it.
func checkSaved(ctx context.Context, dir, runtime string, c drivers.Configuration) (saved, error) {
	st, err := readSaved(filepath.Join(dir, savedFile))
	if err == nil {
		err = st.fits(runtime, c)
	}
	if err == nil {
		err = wantSize(filepath.Join(dir, DiskFile), st.DiskBytes)
	}
	path := filepath.Join(dir, memoryFile)
	if err == nil {
		err = wantSize(path, st.Memory.Bytes)
	}
	if err != nil {
		return saved{}, err
	}
	f, err := os.Open(path) //nolint:gosec // the caller names the directory
	if err != nil {
		return saved{}, err
	}
	defer f.Close()
	sum, err := checksum(ctx, f, st.Memory.Bytes)
	if err == nil && sum != st.Memory.CRC32C {
		err = fmt.Errorf("%w: %s is damaged: its checksum is another", drivers.ErrInvalidArgument, path)
	}
	return st, err
}

func readSaved(path string) (saved, error) {
	var st saved
	f, err := os.Open(path) //nolint:gosec // the caller names the directory
	if err != nil {
		return st, fmt.Errorf("there is no saved state: %w", notFound(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSaved+1))
	if err != nil {
		return st, err
	}
	bad := func(err error) (saved, error) {
		return saved{}, fmt.Errorf("%w: %s: %w", drivers.ErrInvalidArgument, path, err)
	}
	if len(data) > maxSaved {
		return bad(fmt.Errorf("it has more than %d bytes", maxSaved))
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return bad(err)
	}
	if st.Version != savedVersion {
		return bad(fmt.Errorf("the saved state has version %d, this program knows %d", st.Version, savedVersion))
	}
	if err := st.Machine.check(); err != nil {
		return bad(err)
	}
	switch st.Machine.State {
	case drivers.StateBooted, drivers.StateRunning, drivers.StatePaused:
	default:
		return bad(fmt.Errorf("a machine is not saved when it is %q", st.Machine.State))
	}
	return st, nil
}

// fits says why a sandbox cannot go on from the state.
func (st saved) fits(runtime string, c drivers.Configuration) error {
	unfit := func(format string, args ...any) error {
		return fmt.Errorf("%w: the saved state does not fit: %w", drivers.ErrInvalidArgument, fmt.Errorf(format, args...))
	}
	hash, err := hashOf(c.Restorable())
	if err != nil {
		return err
	}
	bases, err := basesOf(c)
	if err != nil {
		return err
	}
	switch {
	case st.Runtime != runtime:
		return unfit("runtime %q has saved it, this is %q", st.Runtime, runtime)
	case st.Machine.Configuration != hash:
		return unfit("the sandbox's configuration is another")
	case st.DiskBytes != c.DiskBytes:
		return unfit("its disk has %d bytes, want %d", st.DiskBytes, c.DiskBytes)
	}
	for serial, is := range bases {
		if was := st.Bases[serial]; was.Bytes != is.Bytes || !was.Modified.Equal(is.Modified) {
			return unfit("the image's root filesystem has changed since (disk %s)", serial)
		}
	}
	for _, p := range st.Machine.Processes {
		i := 0
		for i < len(c.Containers) && c.Containers[i].Name != p.Container {
			i++
		}
		if i == len(c.Containers) {
			return unfit("process %q is of a container %q that is not there", p.ID, p.Container)
		}
	}
	return nil
}

// wantSize sees that a file is a regular one of the size on record.
func wantSize(path string, want int64) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: the saved state is damaged: %w", drivers.ErrInvalidArgument, err)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", drivers.ErrInvalidArgument, path)
	case info.Size() != want:
		return fmt.Errorf("%w: %s is damaged: it has %d bytes, want %d", drivers.ErrInvalidArgument, path, info.Size(), want)
	}
	return nil
}
