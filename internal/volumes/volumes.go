// Package volumes keeps the volumes that outlive the sandboxes which use them: a
// directory each, with a record and the disk. The disk itself is made by the
// runtime that first uses it.
package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	recordVersion = 1
	recordFile    = "volume.json"
	diskFile      = "disk.img"
)

// ErrShrink means that a volume was asked to become smaller, which would cut off
// what is on it.
var ErrShrink = errors.New("a volume cannot shrink")

// ErrNotOwner means that a volume was not made for the sandbox that asks for it.
var ErrNotOwner = errors.New("it was not made for this sandbox")

// Store is a directory of volumes. One process may change it at a time.
type Store struct {
	dir string
	mu  sync.Mutex // held while a record is changed
}

// Open returns the store in a directory, which need not be there.
func Open(dir string) *Store { return &Store{dir: dir} }

// Volume is one volume. It is named by its claim.
type Volume struct {
	Version   int       `json:"version"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	// SizeBytes is how large the disk is to be: it has that size from the next time
	// on that a sandbox with it is started.
	SizeBytes int64 `json:"sizeBytes"`
	// DeleteWithClaim says that the volume goes when its claim does.
	DeleteWithClaim bool `json:"deleteWithClaim,omitempty"`
	// Used says that there was a disk: that there is none then means that what was on
	// it is lost, not that nothing ever was.
	Used bool `json:"used,omitempty"`
	// Owner is the UID of the sandbox that the volume was made for, and is to go with;
	// empty for one that is a claim's.
	Owner string `json:"owner,omitempty"`

	dir string
}

// Disk is the path of the disk.
func (v Volume) Disk() string { return filepath.Join(v.dir, diskFile) }

// Usage returns the apparent size of the disk and what it takes of the host's, in
// bytes; zero if it was never used.
func (v Volume) Usage() (size, allocated int64, err error) {
	info, err := os.Lstat(v.Disk())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		allocated = st.Blocks * 512
	}
	return info.Size(), allocated, nil
}

// Lost reports a volume whose disk was there and is not any more.
func (v Volume) Lost() (bool, error) {
	if !v.Used {
		return false, nil
	}
	there, err := v.hasDisk()
	return !there && err == nil, err
}

func (v Volume) hasDisk() (bool, error) {
	_, err := os.Lstat(v.Disk())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Ensure returns the volume of a claim, made if need be, with the given size and
// policy. One that a sandbox owned is the claim's from then on. The error is
// ErrShrink, with the volume as it is, if it is larger.
func (s *Store) Ensure(namespace, name string, size int64, deleteWithClaim bool) (Volume, error) {
	return s.ensure(namespace, name, size, deleteWithClaim, "")
}

// EnsureOwned returns the volume that a sandbox, given by its UID, has for itself. It
// is made if there is none of that name; the error is ErrNotOwner if there is another's.
func (s *Store) EnsureOwned(namespace, name string, size int64, owner string) (Volume, error) {
	return s.ensure(namespace, name, size, true, owner)
}

func (s *Store) ensure(namespace, name string, size int64, deleteWithClaim bool, owner string) (Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.Get(namespace, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v = Volume{
			Version: recordVersion, Namespace: namespace, Name: name,
			CreatedAt: time.Now().UTC().Truncate(time.Second), dir: s.path(namespace, name),
		}
	case err != nil:
		return v, err
	case owner != "" && owner != v.Owner:
		return Volume{}, fmt.Errorf("volume %s/%s: %w", namespace, name, ErrNotOwner)
	case size < v.SizeBytes:
		return v, fmt.Errorf("%w: it has %d bytes, %d are asked for", ErrShrink, v.SizeBytes, size)
	case size == v.SizeBytes && deleteWithClaim == v.DeleteWithClaim && owner == v.Owner:
		return v, nil
	}
	v.SizeBytes, v.DeleteWithClaim, v.Owner = size, deleteWithClaim, owner
	return v, v.save()
}

// DeleteWithClaim has a volume go when its claim does, if it is there.
func (s *Store) DeleteWithClaim(namespace, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.Get(namespace, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || v.DeleteWithClaim {
		return err
	}
	v.DeleteWithClaim = true
	return v.save()
}

// NoteUse keeps on record that a volume has a disk, if it has one, and returns the
// volume.
func (s *Store) NoteUse(namespace, name string) (Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.Get(namespace, name)
	if err != nil || v.Used {
		return v, err
	}
	if v.Used, err = v.hasDisk(); err != nil || !v.Used {
		return v, err
	}
	return v, v.save()
}

// save writes the record.
func (v Volume) save() error {
	err := state.MkdirAll(v.dir)
	if err == nil {
		err = state.WriteJSON(filepath.Join(v.dir, recordFile), &v)
	}
	if err != nil {
		return fmt.Errorf("keep volume %s/%s: %w", v.Namespace, v.Name, err)
	}
	return nil
}

// Get returns a volume; the error is fs.ErrNotExist if there is none.
func (s *Store) Get(namespace, name string) (Volume, error) {
	for _, part := range []string{namespace, name} {
		if !filepath.IsLocal(part) || filepath.Base(part) != part || part == "." {
			return Volume{}, fmt.Errorf("volume %q of namespace %q: %w: not a name", name, namespace, fs.ErrNotExist)
		}
	}
	v := Volume{dir: s.path(namespace, name)}
	path := filepath.Join(v.dir, recordFile)
	if err := state.ReadJSON(path, &v); err != nil {
		return v, fmt.Errorf("read volume %s/%s: %w", namespace, name, err)
	}
	if v.Version != recordVersion {
		return v, fmt.Errorf("read %s: format %d, this daemon knows %d: it was written by another version", path, v.Version, recordVersion)
	}
	if v.Namespace != namespace || v.Name != name {
		return v, fmt.Errorf("read %s: it is the record of %s/%s", path, v.Namespace, v.Name)
	}
	return v, nil
}

// List returns every volume, by namespace and name. The error tells of those that
// cannot be read.
func (s *Store) List() ([]Volume, error) {
	records, err := filepath.Glob(filepath.Join(s.dir, "*", "*", recordFile)) // sorted
	if err != nil {
		return nil, err
	}
	var (
		list   []Volume
		failed error
	)
	for _, r := range records {
		dir := filepath.Dir(r)
		v, err := s.Get(filepath.Base(filepath.Dir(dir)), filepath.Base(dir))
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		list = append(list, v)
	}
	return list, failed
}

// Remove removes a volume and all that is on it. The disk goes first: a crash
// leaves an empty volume, or none.
func (s *Store) Remove(namespace, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.path(namespace, name)
	if err := os.Remove(filepath.Join(dir, diskFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove volume %s/%s: %w", namespace, name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove volume %s/%s: %w", namespace, name, err)
	}
	_ = os.Remove(filepath.Dir(dir)) // if it was the last of its namespace
	return nil
}

func (s *Store) path(namespace, name string) string {
	return filepath.Join(s.dir, namespace, name)
}
