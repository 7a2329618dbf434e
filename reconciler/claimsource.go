package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
	"github.com/vzreconciler/vzreconciler/internal/volumes"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// populate fills the volume of a claim, before its first use, with what is on the
// volume that the claim names as its source. That must not be written to meanwhile: a
// sandbox that does is waited for, and one that would is kept waiting.
func (m *Manager) populate(ctx context.Context, claim manifests.Key, spec *corev1.PersistentVolumeClaimSpec, v volumes.Volume) error {
	if spec.DataSource == nil {
		return nil
	}
	if size, _, err := v.Usage(); err != nil || size > 0 {
		return err // It has been used.
	}
	source := claimKey(claim.Namespace, spec.DataSource.Name)
	from, err := m.holdSource(source, claim)
	if err != nil {
		return fmt.Errorf("%s is to be a copy of %s: %w", claim, source, err)
	}
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.released(m.attached.remove(claim))
	}()
	size, _, err := from.Usage()
	switch {
	case err != nil:
		return err
	case size == 0:
		return nil // There is nothing on it.
	case v.SizeBytes < size:
		return fmt.Errorf("%s is to be a copy of %s: %w: it asks for %d bytes, which are less than the %d of that", claim, source, drivers.ErrInvalidArgument, v.SizeBytes, size)
	}
	err = sparsefile.CopySync(ctx, v.Disk(), from.Disk())
	if errors.Is(err, fs.ErrExist) { // another sandbox of the claim has been faster
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s is to be a copy of %s: %w", claim, source, err)
	}
	m.event(claim, eventNormal, "VolumeCopied", "its volume has what was on that of %s", source)
	return nil
}

// holdSource returns a volume that nobody writes to, and has it used by the claim that
// is made from it.
func (m *Manager) holdSource(source, claim manifests.Key) (volumes.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.volumes.Get(source.Namespace, source.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return v, errors.New("that has no volume yet")
	}
	if err != nil {
		return v, err
	}
	if err := checkLost(source, v); err != nil {
		return v, err
	}
	if user, ok := m.attached.conflict(source, claim, false); ok {
		return v, fmt.Errorf("%s writes to that now: it is copied when that is stopped", user)
	}
	m.attached.add(source, claim, false)
	return v, nil
}

// removePartialCopies removes what an earlier daemon, that was killed while it filled
// volumes, has left of them.
func (m *Manager) removePartialCopies() {
	list, err := m.volumes.List()
	if err != nil {
		m.log.Warn("list volumes", "error", err)
	}
	for _, v := range list {
		if err := sparsefile.RemovePartial(v.Disk()); err != nil {
			m.log.Warn("remove what is left of a copy", "claim", v.Namespace+"/"+v.Name, "error", err)
		}
	}
}
