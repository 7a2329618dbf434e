package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// runner sees one sandbox through, from its manifest to its end.
type runner struct {
	*app
	client   *api.Client
	ref      *api.Ref
	progress *statusLine
	// seen says that the sandbox was there once: if it is not, it is gone.
	seen bool
	log  *logTail // nil until it is shown
	// stdin is passed on, and with tty the terminal is the container's.
	stdin, tty bool
	// detachKeys leave the terminal.
	detachKeys []byte
}

// errRemoved means that the sandbox went away.
var errRemoved = errors.New("the sandbox was removed")

// watch looks at the sandbox until done says so or fails. When the sandbox is no
// longer there the error is errRemoved.
func (r *runner) watch(ctx context.Context, done func(o *object) (bool, error)) error {
	k, _ := findKind(r.ref.GetKind())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.client.Watch(ctx, &api.GetRequest{Kind: k.name, Namespace: r.ref.GetNamespace(), Names: []string{r.ref.GetName()}})
	if err != nil {
		return err
	}
	there := !r.seen
	for {
		change, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the daemon ended the watch")
		}
		if err != nil {
			return err
		}
		switch change.GetType() {
		case api.WatchResponse_SYNCED:
			if !there {
				return fmt.Errorf("%s: %w", refName(r.ref), errRemoved)
			}
			continue
		case api.WatchResponse_DELETED:
			return fmt.Errorf("%s: %w", refName(r.ref), errRemoved)
		}
		there, r.seen = true, true
		o, err := decodeObject(change.GetObject())
		if err != nil {
			return err
		}
		if ok, err := done(&o); ok || err != nil {
			return err
		}
	}
}

// started waits until the container has started, once.
func (r *runner) started(ctx context.Context, timeout time.Duration) error {
	// The daemon is not told the deadline, as in waiter.run.
	watch, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() { cancel(errTimedOut) })
		defer timer.Stop()
	}
	last := "it is not there yet"
	err := r.watch(watch, func(o *object) (bool, error) {
		last = o.state()
		if trouble := o.trouble(); trouble != "" {
			last += ": " + trouble
		}
		r.progress.show(refName(r.ref) + " is " + last)
		switch {
		case hasStarted(o), o.ended():
			return true, nil
		case o.conditionIs(manifests.ConditionStalled, metav1.ConditionTrue):
			return false, fmt.Errorf("%s is %s", refName(r.ref), last)
		}
		return false, nil
	})
	r.progress.clear()
	if err != nil && errors.Is(context.Cause(watch), errTimedOut) {
		return fmt.Errorf("%w waiting for %s to start: it is %s", errTimedOut, refName(r.ref), last)
	}
	return err
}

// hasStarted reports whether the first container ran or runs.
func hasStarted(o *object) bool {
	if len(o.Status.ContainerStatuses) == 0 {
		return false
	}
	c := o.Status.ContainerStatuses[0]
	return c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
}

// ended reports whether the sandbox runs no more, and will not by itself.
func (o *object) ended() bool {
	switch o.Status.Phase {
	case manifests.PhaseSucceeded, manifests.PhaseFailed, manifests.PhaseStopped:
		return true
	}
	return false
}

// toTheEnd shows what the container prints until it has ended for good, and
// returns its exit code.
func (r *runner) toTheEnd(ctx context.Context) (int, error) {
	if r.tty {
		return r.onTerminal(ctx)
	}
	r.log = r.followLog(ctx)
	if r.stdin {
		defer r.passInput(ctx)()
	}
	code := 0
	err := r.watch(ctx, func(o *object) (bool, error) {
		if !o.ended() {
			return false, nil
		}
		var err error
		code, err = r.exitOf(o)
		return true, err
	})
	if err != nil && ctx.Err() != nil {
		return 0, err // interrupted: it goes on printing
	}
	return code, errors.Join(err, r.finishLog(ctx))
}

// passInput passes standard input on until stop is called. What the container
// prints is taken from its log, which has all of it.
func (r *runner) passInput(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := r.client.Attach(ctx, &api.AttachStart{Object: r.ref, Stdin: true},
			drivers.Stdio{Stdin: r.app.stdin, Stdout: io.Discard, Stderr: io.Discard})
		// It may have ended before: then there is nobody to read.
		if err != nil && ctx.Err() == nil && !errors.Is(err, drivers.ErrInvalidState) {
			fmt.Fprintf(r.stderr, "vzctl: pass standard input on: %v\n", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// onTerminal gives the container the terminal until it ends. One that has ended
// already has its output in the log.
func (r *runner) onTerminal(ctx context.Context) (int, error) {
	status, err := r.attach(ctx, r.client, &api.AttachStart{Object: r.ref, Stdin: r.stdin}, true, r.detachKeys, r.stdout, r.stderr)
	if err == nil {
		return status.Code, nil
	}
	if !errors.Is(err, drivers.ErrInvalidState) {
		return 0, err
	}
	r.tty = false
	return r.toTheEnd(ctx)
}

// exitOf returns the exit code of a sandbox that has ended.
func (r *runner) exitOf(o *object) (int, error) {
	if len(o.Status.ContainerStatuses) == 0 {
		return 0, fmt.Errorf("%s is %s: %s", refName(r.ref), o.state(), o.trouble())
	}
	c := o.Status.ContainerStatuses[0]
	t := c.State.Terminated
	if t == nil {
		t = c.LastTerminationState.Terminated
	}
	if t == nil {
		return 0, fmt.Errorf("%s was stopped before it ran", refName(r.ref))
	}
	return r.exitCode(t)
}

// exitCode returns the code of a process that has exited, or the error if there
// was none, or it ended by no doing of its own.
func (r *runner) exitCode(t *corev1.ContainerStateTerminated) (int, error) {
	switch t.Reason {
	case "StartError":
		code := exitCannotRun
		if strings.Contains(t.Message, drivers.ErrNotFound.Error()) {
			code = exitNoCommand
		}
		return 0, &codeError{errors.New(printer.Sanitize(t.Message)), code}
	case "Completed", "Error":
	default:
		fmt.Fprintf(r.stderr, "vzctl: %s ended: %s\n", refName(r.ref), printer.Sanitize(strings.TrimSuffix(t.Reason+": "+t.Message, ": ")))
	}
	return int(t.ExitCode), nil
}

// interrupted ends what a signal came upon: the sandbox is stopped, unless it is
// removed anyway. Whoever reads the output sees its last words.
func (r *runner) interrupted(ctx context.Context, err error, rm bool) error {
	if ctx.Err() == nil || rm {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
	defer cancel()
	fmt.Fprintf(r.stderr, "Stopping %s; to let it run again: vzctl start %s\n", refName(r.ref), r.ref.GetName())
	if _, serr := r.client.Stop(ctx, &api.StopRequest{Object: r.ref}); serr != nil {
		return errors.Join(err, serr)
	}
	if werr := r.watch(ctx, func(o *object) (bool, error) { return o.ended(), nil }); werr != nil {
		return errors.Join(err, werr)
	}
	return errors.Join(err, r.finishLog(ctx))
}

// goneTimeout bounds the end of a sandbox, its grace period among it.
const goneTimeout = 2 * time.Minute

// remove removes the sandbox and waits until it is gone, whatever happened.
func (r *runner) remove(ctx context.Context) error {
	r.progress.clear()
	r.seen = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
	defer cancel()
	_, err := r.client.Delete(ctx, &api.DeleteRequest{Object: r.ref})
	if errors.Is(err, drivers.ErrNotFound) {
		return nil // somebody else did
	}
	if err != nil {
		return fmt.Errorf("%s is still there: %w\nremove it with: vzctl delete %s", refName(r.ref), err, refName(r.ref))
	}
	err = r.watch(ctx, func(*object) (bool, error) { return false, nil })
	if errors.Is(err, errRemoved) || errors.Is(err, drivers.ErrNotFound) {
		r.log.wait(ctx)
		return nil
	}
	return fmt.Errorf("wait for the removal of %s: %w", refName(r.ref), err)
}
