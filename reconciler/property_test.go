package reconciler

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

const (
	// stories is how many are told, and stepsOfStory how long each is.
	stories      = 30
	stepsOfStory = 60
)

// Whatever befalls a host, in whatever order: once it is in order again, every
// sandbox is as its last good manifest and its user want it, nothing is done
// any more, and what nobody touched was never disturbed.
//
// VZ_TEST_SEED=N tells one story alone, VZ_TEST_STORIES=N so many from there on.
func TestEveryStoryEndsAsTheLastGoodManifestsSay(t *testing.T) {
	first, n := uint64(1), stories
	if testing.Short() {
		n = 4
	}
	if v, err := strconv.ParseUint(os.Getenv("VZ_TEST_SEED"), 10, 64); err == nil {
		first, n = v, 1
	}
	if v, err := strconv.Atoi(os.Getenv("VZ_TEST_STORIES")); err == nil {
		n = v
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.maxPrune = 100 // what is held is not part of the story
				w.stop()
				w.start()
				s := newStory(t, w, seed)
				boot, steps := w.status(steady).Runtime.BootID, w.steps.of(steady)
				for range stepsOfStory {
					s.step()
					if t.Failed() {
						break
					}
				}
				s.end()
				s.check(boot, len(steps))
				if t.Failed() {
					t.Logf("the story of VZ_TEST_SEED=%d:\n%s", seed, strings.Join(s.told, "\n"))
				}
			})
		})
	}
}

func (s *story) check(boot string, steps int) {
	s.t.Helper()
	s.checkSteady(boot, steps)
	s.each(s.checkCharacter)
	// Nor is there anything left to do, whoever looks.
	before := s.w.steps.count()
	for range 3 {
		s.w.look()
		after(time.Hour)
	}
	if n := s.w.steps.count() - before; n != 0 {
		s.t.Errorf("%d steps were taken though nothing happened", n)
	}
	// A new daemon looks for what the last one may have left running.
	search := []string{string(ActReattach), string(ActCleanUp)}
	before = s.w.steps.count(search...)
	s.w.stop()
	s.w.start()
	after(time.Hour)
	if n := s.w.steps.count(search...) - before; n != 0 {
		s.t.Errorf("%d steps were taken though nothing but the daemon was restarted", n)
	}
	// What a broken file may have kept goes when that is mended.
	s.each(func(c *character) {
		if c.broken {
			c.broken = false
			s.write(c)
		}
	})
	after(2 * time.Hour)
	s.each(s.checkCharacter)
	s.checkSteady(boot, steps)
}

// checkSteady makes sure that no step was taken for the sandbox that nobody
// touched, but that new daemons found it again.
func (s *story) checkSteady(boot string, steps int) {
	s.t.Helper()
	for _, step := range s.w.steps.of(steady)[steps:] {
		if step != string(ActReattach) {
			s.t.Errorf("step %s for the sandbox that nobody touched", step)
		}
	}
	if st := s.w.status(steady); st.Phase != manifests.PhaseRunning || st.Runtime.BootID != boot {
		s.t.Errorf("the sandbox that nobody touched is %s, booted again: %v", st.Phase, st.Runtime.BootID != boot)
	}
}

func (s *story) checkCharacter(c *character) {
	s.t.Helper()
	want := c.phase()
	v := s.w.view(c.name)
	if v == nil || want == "" {
		if v != nil || want != "" {
			s.t.Errorf("%s is there: %v, want phase %q", c.name, v != nil, want)
		}
		return
	}
	st := v.status
	if st.Phase != want {
		s.t.Errorf("%s is %s, want %s\n%s", c.name, st.Phase, want, describe(st))
		return
	}
	if synced := isTrue(st.Conditions, manifests.ConditionSynced); synced == c.broken {
		s.t.Errorf("%s: synced %v, broken %v\n%s", c.name, synced, c.broken, describe(st))
	}
	if c.applied == nil {
		return
	}
	if got, image := v.labels["v"], st.ContainerStatuses[0].Image; got != fmt.Sprintf("v%d", c.applied.label) ||
		image != fmt.Sprintf("example.com/app:%d", c.applied.image) {
		s.t.Errorf("%s has label %s and image %s, want %+v", c.name, got, image, *c.applied)
	}
	if ready := isTrue(st.Conditions, manifests.ConditionReady); ready != (want == manifests.PhaseRunning) {
		s.t.Errorf("%s: ready %v\n%s", c.name, ready, describe(st))
	}
	if !s.faults && s.w.runtimes.launched(c.name) > c.reasons {
		s.t.Errorf("%s was launched %d times for %d reasons", c.name, s.w.runtimes.launched(c.name), c.reasons)
	}
	if want == manifests.PhaseRunning || want == manifests.PhasePaused {
		s.checkBuilt(c)
	}
}

// checkBuilt makes sure that what runs was made from the manifest and the
// ConfigMap as they are.
func (s *story) checkBuilt(c *character) {
	s.t.Helper()
	if s.w.runtimes.process(c.name) == nil {
		s.t.Errorf("%s has no process", c.name)
		return
	}
	data, err := os.ReadFile(s.w.state.Bundle("default", c.name).ConfigurationFile())
	if err != nil {
		s.t.Error(err)
		return
	}
	image := s.w.status(c.name).ContainerStatuses[0].ImageID
	value := fmt.Sprintf("%q: %q", "value", s.config)
	if image != fmt.Sprintf("sha256:example.com/app:%d", c.applied.image) || c.applied.refers != strings.Contains(string(data), value) {
		s.t.Errorf("%s was built from image %s and this, want %+v and ConfigMap %q:\n%s", c.name, image, *c.applied, s.config, data)
	}
}
