package reconciler

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// A machine that ends because nothing could be started in it was not lost.
func TestFailedStartIsNoLostMachine(t *testing.T) {
	now := time.Now()
	failed := newContainer(corev1.Container{Name: "main"})
	failed.startFailed(errors.New("no such file"), corev1.RestartPolicyAlways, now)
	final := newContainer(corev1.Container{Name: "main"})
	final.startFailed(errors.New("no such file"), corev1.RestartPolicyNever, now)
	ran := drivers.Snapshot{Timeline: []drivers.Stage{{Name: drivers.StageRunning, Time: now}}}
	for name, c := range map[string]struct {
		object *object
		want   bool
	}{
		"not started":                {&object{containers: containers{failed}}, true},
		"not started, for good":      {&object{containers: containers{final}}, true},
		"another of its ran":         {&object{containers: containers{failed}, snapshot: ran}, false},
		"not started in another one": {&object{containers: containers{failed}, vmStarted: now.Add(time.Second)}, false},
		"never tried":                {&object{containers: containers{newContainer(corev1.Container{})}}, false},
	} {
		if got := c.object.startFailed(); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
