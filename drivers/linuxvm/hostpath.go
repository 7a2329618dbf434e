package linuxvm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// The types of a drivers.HostPathVolume.
const (
	hostDirectory         = "Directory"
	hostDirectoryOrCreate = "DirectoryOrCreate"
	hostFile              = "File"
	hostFileOrCreate      = "FileOrCreate"
)

// virtiofsModule is what a guest needs that has shares.
const virtiofsModule = "virtiofs"

func checkHostPath(h *drivers.HostPathVolume) error {
	if !filepath.IsAbs(h.Root) {
		return fmt.Errorf("root: %q is not an absolute path", h.Root)
	}
	if !filepath.IsLocal(h.Path) || filepath.Clean(h.Path) != h.Path {
		return fmt.Errorf("path: %q is not a clean relative path", h.Path)
	}
	switch h.Type {
	case "", hostDirectory, hostDirectoryOrCreate, hostFile, hostFileOrCreate:
		return nil
	}
	return fmt.Errorf("type: %q is none of Directory, DirectoryOrCreate, File and FileOrCreate", h.Type)
}

// shareTag is how the guest knows a volume of the host's.
func shareTag(i int) string { return fmt.Sprintf("volume%d", i) }

// shares makes sure that the folders and files of the host's are there, and makes
// those that are to be made.
func shares(volumes []drivers.Volume) ([]Share, error) {
	var list []Share
	for i, v := range volumes {
		if v.HostPath == nil {
			continue
		}
		s, err := newShare(v.HostPath)
		if err != nil {
			return nil, fmt.Errorf("volume %q: host path %s: %w", v.Name, filepath.Join(v.HostPath.Root, v.HostPath.Path), err)
		}
		s.Tag = shareTag(i)
		list = append(list, s)
	}
	return list, nil
}

func newShare(h *drivers.HostPathVolume) (Share, error) {
	s := Share{Root: h.Root, Path: h.Path, ReadOnly: h.ReadOnly}
	root, err := os.OpenRoot(h.Root)
	if err != nil {
		return s, fmt.Errorf("%w: %w", drivers.ErrUnavailable, err)
	}
	defer root.Close()
	switch h.Type {
	case hostDirectoryOrCreate:
		err = root.MkdirAll(h.Path, 0o755)
	case hostFileOrCreate:
		var f *os.File
		if f, err = root.OpenFile(h.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			err = f.Close()
		}
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return s, fmt.Errorf("make it: %w: %w", drivers.ErrUnavailable, err)
	}
	info, err := root.Stat(h.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, fmt.Errorf("%w: it is not there: make it, or let type: DirectoryOrCreate or FileOrCreate do so", drivers.ErrUnavailable)
	case err != nil:
		return s, fmt.Errorf("%w: %w", drivers.ErrUnavailable, err)
	}
	s.File = info.Mode().IsRegular()
	directory := h.Type == hostDirectory || h.Type == hostDirectoryOrCreate
	switch {
	case !s.File && !info.IsDir():
		return s, fmt.Errorf("%w: it is neither a directory nor a regular file", drivers.ErrInvalidArgument)
	case h.Type != "" && directory == s.File:
		return s, fmt.Errorf("%w: type %s does not fit what is there", drivers.ErrInvalidArgument, h.Type)
	}
	return s, nil
}

// singleFile reports whether a volume is a file of the host's.
func (v *vm) singleFile(volume string) bool {
	i := slices.IndexFunc(v.config.Volumes, func(c drivers.Volume) bool { return c.Name == volume })
	return slices.ContainsFunc(v.shares, func(s Share) bool { return s.Tag == shareTag(i) && s.File })
}
