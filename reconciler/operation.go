package reconciler

import (
	"context"
	"errors"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
)

// operation is a step under way, in a goroutine of its own. An object has one at
// most.
type operation struct {
	action Action
	goal   goalKey
	cancel context.CancelFunc
	// note says how far it is, for people. The object's mutex guards it.
	note string
}

// buildVerbs are the steps towards a running VM: a failure of one puts all of
// them off, but not the clearing away of what failed.
var buildVerbs = []Verb{ActPrepare, ActRemoveDisk, ActLaunch, ActBootstrap}

// interruptible reports whether the step may be given up when it is in vain.
func (op *operation) interruptible() bool {
	switch op.action.Verb {
	case ActPrepare, ActLaunch, ActBootstrap, ActKill, ActUpdate:
		return true
	default:
		return false
	}
}

// beginMessage is what the log says when a step begins.
const beginMessage = "begin"

// begin starts a step. o.mu is held.
func (m *Manager) begin(o *object, a Action, goal goalKey) {
	ctx, cancel := context.WithCancel(m.life)
	op := &operation{action: a, goal: goal, cancel: cancel}
	o.op = op
	if goal.goal.up() {
		o.stage(stagePlanned, time.Now())
	}
	m.log.Debug(beginMessage, "object", o.key.String(), "action", a.String())
	spawned := m.spawn(func() {
		defer cancel()
		err := m.perform(ctx, o, op)
		if err != nil {
			m.giveTurn(o)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.op = nil
		m.finish(o, a, err, ctx.Err() != nil)
		m.queue.Add(o.key)
	})
	if !spawned {
		cancel()
		o.op = nil
	}
}

// finish notes how a step ended. o.mu is held.
func (m *Manager) finish(o *object, a Action, err error, cancelled bool) {
	if err == nil {
		delete(o.failures, a.Verb)
		return
	}
	if cancelled {
		m.log.Debug("given up", "object", o.key.String(), "action", a.String(), "error", err)
		return
	}
	f := o.failures[a.Verb]
	if f == nil {
		f = &failure{}
		o.failures[a.Verb] = f
	}
	now := time.Now()
	// What is looked for every few seconds is reported once.
	news := f.err == nil || f.err.Error() != err.Error() || !hostLacks(err)
	f.err, f.at, f.permanent = err, now, permanent(err)
	f.tries++
	var image *imageError
	f.image = errors.As(err, &image)
	var wait time.Duration
	if hostLacks(err) {
		wait = f.backoff.failAtMost(now, hostDelay)
	} else {
		wait = f.backoff.fail(now)
	}
	if news {
		m.event(o.key, eventWarning, string(a.Verb)+"Failed", "%v", err)
	}
	m.log.Debug("step failed", "object", o.key.String(), "action", a.String(), "retry", wait)
}

// lastFailure returns the failure that is news: the latest one.
func (o *object) lastFailure() (Verb, *failure) {
	var (
		verb   Verb
		latest *failure
	)
	for v, f := range o.failures {
		if latest == nil || f.at.After(latest.at) {
			verb, latest = v, f
		}
	}
	return verb, latest
}

// permanent reports an error that no retry will mend, only a change to the
// manifest or the host.
func permanent(err error) bool {
	return errors.Is(err, drivers.ErrInvalidArgument) || errors.Is(err, drivers.ErrUnsupported) ||
		errors.Is(err, drivers.ErrNotFound) || errors.Is(err, images.ErrNotFound) ||
		errors.Is(err, images.ErrInvalid) || errors.Is(err, images.ErrUnauthorized) || hostLacks(err)
}

// hostLacks reports an error that says what the user must install.
func hostLacks(err error) bool {
	return errors.Is(err, drivers.ErrUnavailable) || errors.Is(err, kernels.ErrNotInstalled)
}
