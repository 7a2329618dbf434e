package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// waiter waits until objects are as wanted.
type waiter struct {
	client *api.Client
	// what says for people what is waited for.
	what string
	// met tells whether an object is as wanted.
	met func(o *object) bool
	// vain tells whether waiting for an object is in vain; nil: it never is.
	vain func(o *object) bool
	// deletion waits for objects to be gone instead.
	deletion bool
	// done, if not nil, is told of each object once.
	done func(ref string) error
	// once looks at what is, without waiting.
	once bool

	objects map[string]object // those there, by name with namespace
	reached map[string]bool   // those that were as wanted once
}

// run waits for the objects of a request: those it names, else those it selects,
// at least one. When ctx's deadline passes, the error is errTimedOut and says
// what the objects are like.
func (w *waiter) run(ctx context.Context, req *api.GetRequest) error {
	w.objects, w.reached = map[string]object{}, map[string]bool{}
	// The daemon is not told the deadline: it would end the watch by itself, a
	// moment before ctx ends here.
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	stream, err := w.client.Watch(watch, req)
	if err != nil {
		return w.explain(ctx, err, req)
	}
	synced := false
	for {
		change, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the daemon ended the watch")
		}
		if err != nil {
			return w.explain(ctx, err, req)
		}
		if change.GetType() == api.WatchResponse_SYNCED {
			synced = true
		} else if err := w.take(change); err != nil {
			return err
		}
		if !synced {
			continue
		}
		if w.finished(req) {
			return nil
		}
		if w.once {
			return w.timedOut(req)
		}
	}
}

func (w *waiter) take(change *api.WatchResponse) error {
	o, err := decodeObject(change.GetObject())
	if err != nil {
		return err
	}
	id := o.Namespace + "/" + o.Name
	if change.GetType() == api.WatchResponse_DELETED {
		delete(w.objects, id)
		if w.deletion {
			return w.reach(id, o.ref())
		}
		return nil
	}
	w.objects[id] = o
	if !w.deletion && w.met(&o) {
		return w.reach(id, o.ref())
	}
	if w.vain != nil && w.vain(&o) {
		return fmt.Errorf("%s is %s: %s", o.ref(), o.state(), o.trouble())
	}
	return nil
}

func (w *waiter) reach(id, ref string) error {
	if w.reached[id] {
		return nil
	}
	w.reached[id] = true
	if w.done == nil {
		return nil
	}
	return w.done(ref)
}

func (w *waiter) finished(req *api.GetRequest) bool {
	if w.deletion {
		return len(w.objects) == 0
	}
	if len(req.GetNames()) > 0 {
		return !slices.ContainsFunc(req.GetNames(), func(name string) bool {
			return !w.reached[req.GetNamespace()+"/"+name]
		})
	}
	for id := range w.objects {
		if !w.reached[id] {
			return false
		}
	}
	return len(w.objects) > 0
}

func (w *waiter) explain(ctx context.Context, err error, req *api.GetRequest) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return w.timedOut(req)
	}
	return err
}

// timedOut says which objects are not as wanted, and what they say of themselves.
func (w *waiter) timedOut(req *api.GetRequest) error {
	var missing []error
	for id, o := range w.objects {
		if w.reached[id] && !w.deletion {
			continue
		}
		text := fmt.Sprintf("%s is %s", o.ref(), o.state())
		if trouble := o.trouble(); trouble != "" {
			text += ": " + trouble
		} else if c := o.condition(manifests.ConditionReady); c != nil && c.Status != metav1.ConditionTrue && c.Message != "" {
			text += ": " + c.Message
		}
		missing = append(missing, errors.New(text))
	}
	if !w.deletion {
		for _, name := range req.GetNames() {
			id := req.GetNamespace() + "/" + name
			if _, there := w.objects[id]; !there && !w.reached[id] {
				missing = append(missing, fmt.Errorf("%s/%s is not there", req.GetKind(), name))
			}
		}
		if len(req.GetNames()) == 0 && len(w.objects) == 0 {
			missing = append(missing, errors.New("no object fits"))
		}
	}
	if len(missing) == 0 { // The time was up before the daemon had answered.
		missing = append(missing, errors.New("the daemon has not told yet what there is"))
	}
	slices.SortFunc(missing, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return fmt.Errorf("%w waiting for %s: %w", errTimedOut, w.what, errors.Join(missing...))
}

// waitFlags are the flags of verbs that wait for what they started.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (f *waitFlags) add(cmd *cobra.Command, timeout time.Duration) {
	cmd.Flags().BoolVar(&f.wait, "wait", true, "wait until it is done")
	cmd.Flags().DurationVar(&f.timeout, "timeout", timeout, "how long to wait")
}

// until waits for one sandbox.
func (f *waitFlags) until(ctx context.Context, w *waiter, ref *api.Ref) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	k, _ := findKind(ref.GetKind())
	return w.run(ctx, &api.GetRequest{Kind: k.name, Namespace: ref.GetNamespace(), Names: []string{ref.GetName()}})
}
