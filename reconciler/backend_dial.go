package reconciler

import (
	"context"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Dial implements api.Backend.
func (m *Manager) Dial(ctx context.Context, object *api.Ref, to drivers.Address) (drivers.Conn, error) {
	o, inst, err := m.running(object)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	conn, err := inst.Dial(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.key, err)
	}
	return conn, nil
}
