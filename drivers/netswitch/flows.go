package netswitch

import (
	"context"
	"sync"
)

// flows are what a machine has under way through the gateway. They end with its
// connection to the switch, for nobody else would end those that are idle, or when
// they are cut.
type flows struct {
	mu     sync.Mutex
	parent context.Context //nolint:containedctx // that of the machine's connection
	ctx    context.Context //nolint:containedctx // theirs
	cancel context.CancelFunc
}

// begin has flows end with ctx.
func (f *flows) begin(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parent = ctx
	f.renew()
}

// cut ends those that there are. Others may begin.
func (f *flows) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.parent != nil {
		f.renew()
	}
}

// renew is called with the mutex held.
func (f *flows) renew() {
	if f.cancel != nil {
		f.cancel()
	}
	f.ctx, f.cancel = context.WithCancel(f.parent)
}

// context is that of a flow that begins now; nil if there never was a machine.
func (f *flows) context() context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ctx
}
