package reconciler

import (
	"context"
	"fmt"
	"io"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// CopyIn implements api.Backend.
func (m *Manager) CopyIn(ctx context.Context, ref *api.Ref, req drivers.CopyInRequest, archive io.Reader) error {
	inst, name, err := m.forCopy(ref, req.Container)
	if err != nil {
		return err
	}
	req.Container = name
	return inst.CopyIn(ctx, req, archive)
}

// CopyOut implements api.Backend.
func (m *Manager) CopyOut(ctx context.Context, ref *api.Ref, req drivers.CopyOutRequest, w io.Writer) error {
	inst, name, err := m.forCopy(ref, req.Container)
	if err != nil {
		return err
	}
	req.Container = name
	return inst.CopyOut(ctx, req, w)
}

// forCopy returns the instance of a sandbox that is up, and the name of one of
// its containers. The runtime says whether it is up far enough.
func (m *Manager) forCopy(ref *api.Ref, container string) (Instance, string, error) {
	o, err := m.sandboxOf(ref)
	if err != nil {
		return nil, "", err
	}
	o.mu.Lock()
	inst, phase := o.instance, o.status.Phase
	o.mu.Unlock()
	if inst == nil {
		return nil, "", fmt.Errorf("%s: %w: it is %s; start it, or export it", o.key, drivers.ErrInvalidState, phase)
	}
	c, err := o.configuredContainer(container)
	if err != nil {
		return nil, "", err
	}
	return inst, c.Name, nil
}
