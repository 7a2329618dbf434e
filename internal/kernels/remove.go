package kernels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// Remove removes a kernel and all its versions. The caller has made sure that
// nothing uses it.
func (s *Store) Remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, name, recordFile)); errors.Is(err, fs.ErrNotExist) {
		return notInstalled(name)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("remove kernel %q: %w", name, err)
	}
	defer unlock()
	// The record goes first: a crash in the middle leaves no kernel that looks whole.
	if err := os.Remove(filepath.Join(s.dir, name, recordFile)); err != nil {
		return fmt.Errorf("remove kernel %q: %w", name, err)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
		return fmt.Errorf("remove kernel %q: %w", name, err)
	}
	return nil
}

// Prune removes older versions of all kernels, but not those for which inUse
// reports true: it is called with the version's directory, the one that holds
// Kernel.Image.
func (s *Store) Prune(ctx context.Context, inUse func(dir string) bool) error {
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("prune kernels: %w", err)
	}
	defer unlock()
	kernels, listErr := s.List()
	errs := []error{listErr}
	for _, k := range kernels {
		current := filepath.Dir(k.Image)
		entries, err := os.ReadDir(filepath.Dir(current))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range entries {
			dir := filepath.Join(filepath.Dir(current), e.Name())
			if !e.IsDir() || dir == current || inUse(dir) {
				continue
			}
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// lock makes the store's directory, takes its lock and clears what an
// interrupted installation left.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := state.MkdirAll(s.dir); err != nil {
		return nil, err
	}
	release, err := state.Lock(ctx, filepath.Join(s.dir, lockFile))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			os.RemoveAll(filepath.Join(s.dir, e.Name()))
		}
	}
	return func() { _ = release() }, nil
}
