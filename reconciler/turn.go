package reconciler

import "context"

// takeTurn waits until the sandbox may boot: too many boots at once would only
// make each of them late. A turn that is held already is kept.
func (m *Manager) takeTurn(ctx context.Context, o *object, op *operation) error {
	o.mu.Lock()
	has := o.hasTurn
	o.mu.Unlock()
	if has {
		return nil
	}
	if !m.boots.TryAcquire(1) {
		m.note(o, op, noteTurn)
		if err := m.boots.Acquire(ctx, 1); err != nil {
			return err
		}
		m.note(o, op, "")
	}
	o.mu.Lock()
	o.hasTurn = true
	o.mu.Unlock()
	return nil
}

// giveTurn lets the next one boot.
func (m *Manager) giveTurn(o *object) {
	o.mu.Lock()
	has := o.hasTurn
	o.hasTurn = false
	o.mu.Unlock()
	if has {
		m.boots.Release(1)
	}
}

// noteTurn is what an operation says of itself while it waits.
const noteTurn = "waiting for its turn to boot"

// note says how far an operation is, and has it shown.
func (m *Manager) note(o *object, op *operation, text string) {
	o.mu.Lock()
	changed := op.note != text
	op.note = text
	o.mu.Unlock()
	if changed {
		m.queue.Add(o.key)
	}
}
