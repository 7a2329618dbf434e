package reconciler

import (
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
)

func runtimeClass(name, handler string) string {
	return "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: " + name + "}\nhandler: " + handler + "\n"
}

func TestRuntimeClassNamesTheRuntime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("kata.yaml", runtimeClass("kata", "fake"))
		w.write("web.yaml", podLike("web", "runtimeClassName: kat"))
		w.wantCondition("web", manifests.ConditionStalled, "True", "", `there is no RuntimeClass kat (did you mean "kata"?), nor a runtime of that name`)
		w.write("web.yaml", podLike("web", "runtimeClassName: kata"))
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseRunning)
		if rs := w.view("web").status.Runtime; rs == nil || rs.Name != "fake" {
			t.Errorf("runtime %+v", rs)
		}
		// The handler is fixed, and what was built stays when the class goes.
		w.write("kata.yaml", runtimeClass("kata", "other"))
		w.wantEventSaying("kata", ReasonImmutableField, "it is immutable and stays as it was")
		w.remove("kata.yaml")
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.runtimes.launched("web"); n != 1 {
			t.Errorf("launched %d times", n)
		}
	})
}

func TestRuntimeClassThatComesLaterIsWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", podLike("web", "runtimeClassName: kata"))
		w.write("kata.yaml", runtimeClass("kata", "fake"))
		after(time.Hour)
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestImmutableObjectStaysAsItWas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		immutable := func(value string) string { return configMap("conf", "a", value) + "immutable: true\n" }
		w.write("conf.yaml", immutable("one"))
		w.write("web.yaml", sandbox("web", "env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]"))
		after(time.Minute)
		refused := func() {
			t.Helper()
			after(time.Minute)
			w.wantPhase("web", manifests.PhaseRunning)
			if n := w.runtimes.launched("web"); n != 1 {
				t.Errorf("launched %d times", n)
			}
			w.wantEventSaying("conf", ReasonImmutableField, "conf.yaml:1:1: it is immutable and stays as it was: give the new one another name")
		}
		w.write("conf.yaml", immutable("two"))
		refused()
		w.write("conf.yaml", configMap("conf", "a", "one"))
		refused()
		// The next daemon knows, too.
		w.stop()
		w.write("conf.yaml", immutable("two"))
		w.start()
		refused()
		// Labels can be changed; and a new one can be anything.
		w.write("conf.yaml", strings.Replace(immutable("one"), "{name: conf}", "{name: conf, labels: {a: b}}", 1))
		after(time.Minute)
		w.wantCondition("web", manifests.ConditionSynced, "True", "", "")
		w.remove("conf.yaml")
		after(time.Minute)
		w.write("conf.yaml", immutable("two"))
		after(time.Minute)
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("launched %d times after the new one", n)
		}
	})
}

// wantEventSaying checks that an object has such an event.
func (w *world) wantEventSaying(name, reason, text string) {
	w.t.Helper()
	list := w.events.List(events.Filter{Name: name})
	for _, e := range list {
		if e.Reason == reason && strings.Contains(e.Message, text) {
			return
		}
	}
	w.t.Errorf("no event %s %q of %s in %+v", reason, text, name, list)
}
