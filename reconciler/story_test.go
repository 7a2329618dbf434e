package reconciler

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// story is a random sequence of what may befall a host, and what should come of
// it. It is told to a world step by step.
type story struct {
	t      *testing.T
	w      *world
	rand   *rand.Rand
	up     bool // the daemon runs
	faults bool // steps fail now and then
	told   []string
	// outlive says that a VM outlives its plugin process.
	outlive bool

	cast   map[string]*character
	config string // the value in the ConfigMap; empty: it has no file
	seen   string // the last such value that was looked at, be it gone since
}

// character is one sandbox of a story.
type character struct {
	name string
	file string
	// written is what the file says, nil for no file; broken says that it has an
	// error, and the object is still as it was applied.
	written *text
	broken  bool
	applied *text // the last good one that was looked at
	stopped bool  // by a user
	paused  bool
	reasons int // for which its VM may have been made
}

// text is what of a manifest a story changes.
type text struct {
	image  int
	policy string
	mode   string
	label  int
	refers bool
}

func (c *character) manifest() string {
	s := podLike(c.name, "restartPolicy: "+c.written.policy)
	if c.written.refers {
		s += "        env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]\n"
	}
	return strings.NewReplacer(
		"app:1", fmt.Sprintf("app:%d", c.written.image),
		"spec:\n  pod", "spec:\n  operatingMode: "+c.written.mode+"\n  pod",
		"{name: "+c.name+"}", fmt.Sprintf("{name: %s, labels: {v: v%d}}", c.name, c.written.label),
	).Replace(s)
}

// steady is the name of the sandbox that nothing in a story is about.
const steady = "steady"

func newStory(t *testing.T, w *world, seed uint64) *story {
	s := &story{
		t: t, w: w, rand: rand.New(rand.NewPCG(seed, 0)), up: true, cast: map[string]*character{},
		faults: seed%2 == 0, outlive: seed%3 == 0,
	}
	if s.outlive {
		w.outliving()
	}
	w.files[steady+".yaml"] = sandbox(steady)
	for _, name := range []string{"ann", "bob", "cat", "dan"} {
		s.cast[name] = &character{name: name, file: name + ".yaml"}
	}
	w.look()
	after(time.Minute)
	return s
}

// say notes what is done next, for the report of a failure.
func (s *story) say(format string, args ...any) {
	s.told = append(s.told, fmt.Sprintf(format, args...))
}

func (s *story) anyone() *character {
	names := slices.Sorted(maps.Keys(s.cast))
	return s.cast[names[s.rand.IntN(len(names))]]
}

// step does one thing, and lets some time pass.
func (s *story) step() {
	events := []func(){
		s.edit, s.edit, s.edit, s.edit, s.unlink, s.rename, s.spoil, s.spoil, s.mend, s.configure,
		s.loseDirectory, s.restartDaemon, s.user, s.user, s.killVM, s.killPlugin, s.killProcess,
	}
	if s.faults {
		events = append(events, s.fault, s.fault, s.fault)
	}
	events[s.rand.IntN(len(events))]()
	// Mostly not enough for all to be done before the next.
	wait := []time.Duration{0, 0, 100 * time.Millisecond, time.Second, 3 * time.Second, time.Minute}[s.rand.IntN(6)]
	s.say("%s pass", wait)
	after(wait)
}

// look lets the daemon see the files, and notes what it then knows.
func (s *story) look() {
	if !s.up {
		return
	}
	s.w.look()
	if s.w.missing.Load() {
		return
	}
	if s.config != s.seen && s.config != "" {
		s.seen = s.config
		s.each(func(c *character) { c.reasons++ })
	}
	s.each(func(c *character) {
		switch {
		case c.broken:
		case c.written == nil:
			c.applied, c.stopped, c.paused = nil, false, false
		default:
			if c.applied == nil || *c.applied != *c.written {
				c.reasons++
			}
			t := *c.written
			c.applied = &t
		}
	})
}

func (s *story) each(do func(*character)) {
	for _, name := range slices.Sorted(maps.Keys(s.cast)) {
		do(s.cast[name])
	}
}

func (s *story) write(c *character) {
	s.w.files[c.file] = c.manifest()
	s.look()
}

func (s *story) edit() {
	c := s.anyone()
	if c.written == nil {
		c.written = &text{image: 1, policy: "Always", mode: "Running", refers: s.rand.IntN(2) == 0}
	}
	switch s.rand.IntN(5) {
	case 0, 1:
		c.written.image = 1 + s.rand.IntN(3)
	case 2:
		c.written.policy = []string{"Always", "OnFailure"}[s.rand.IntN(2)]
	case 3:
		c.written.mode = []string{"Running", "Running", "Suspended", "Paused"}[s.rand.IntN(4)]
	case 4:
		c.written.label = s.rand.IntN(3)
	}
	c.broken = false
	s.say("write %s: %+v", c.name, *c.written)
	s.write(c)
}

func (s *story) unlink() {
	c := s.anyone()
	s.say("remove %s", c.name)
	c.written, c.broken = nil, false
	delete(s.w.files, c.file)
	s.look()
}

func (s *story) rename() {
	c := s.anyone()
	if c.written == nil || c.broken || !s.up || s.w.missing.Load() {
		return
	}
	delete(s.w.files, c.file)
	c.file = fmt.Sprintf("%s-%d.yaml", c.name, s.rand.IntN(100))
	s.say("rename %s to %s", c.name, c.file)
	s.write(c)
}

// spoil leaves a file with an error. One of a sandbox that was never applied
// still tells its name: else it would be in doubt whether it holds the others
// that go.
func (s *story) spoil() {
	c := s.anyone()
	if c.written == nil {
		return
	}
	c.broken = true
	whole := c.manifest()
	bad := []string{strings.Replace(whole, "image:", "imagee:", 1)}
	if c.applied != nil {
		bad = append(bad, whole[:len(whole)-len(whole)/4]+"[", "\x00", "a: &a [*a]\n", "\tkind: Pod")
	}
	s.w.files[c.file] = bad[s.rand.IntN(len(bad))]
	s.say("spoil %s: %q", c.name, s.w.files[c.file])
	s.look()
}

func (s *story) mend() {
	c := s.anyone()
	if !c.broken {
		return
	}
	s.say("mend %s", c.name)
	c.broken = false
	s.write(c)
}

func (s *story) configure() {
	s.config = []string{"", "1", "2"}[s.rand.IntN(3)]
	s.say("ConfigMap %q", s.config)
	s.writeConfig()
}

func (s *story) writeConfig() {
	if s.config == "" {
		delete(s.w.files, "conf.yaml")
	} else {
		s.w.files["conf.yaml"] = configMap("conf", "a", s.config)
	}
	s.look()
}

func (s *story) loseDirectory() {
	s.w.missing.Store(!s.w.missing.Load())
	s.say("the directory is gone: %v", s.w.missing.Load())
	s.look()
}

func (s *story) restartDaemon() {
	if s.up {
		s.say("the daemon ends")
		s.w.stop()
		s.up = false
		return
	}
	s.say("the daemon starts")
	s.w.start()
	s.up = true
	s.look()
}

func (s *story) user() {
	c := s.anyone()
	if !s.up || c.applied == nil {
		return
	}
	ref, ctx := &api.Ref{Name: c.name}, s.t.Context()
	var err error
	what := []string{"stop", "start", "restart", "pause", "resume"}[s.rand.IntN(5)]
	switch what {
	case "stop":
		if err = s.w.m.Stop(ctx, &api.StopRequest{Object: ref}); err == nil {
			c.stopped, c.paused = true, false
		}
	case "start":
		if err = s.w.m.Start(ctx, &api.StartRequest{Object: ref}); err == nil {
			c.stopped, c.paused = false, false
		}
		c.reasons++
	case "restart":
		if err = s.w.m.Restart(ctx, &api.RestartRequest{Object: ref}); err == nil {
			c.stopped, c.paused = false, false
		}
		c.reasons++
	case "pause":
		if err = s.w.m.Pause(ctx, &api.PauseRequest{Object: ref}); err == nil {
			c.paused = true
		}
	case "resume":
		if err = s.w.m.Resume(ctx, &api.ResumeRequest{Object: ref}); err == nil {
			c.paused = false
		}
	}
	s.say("a user wants %s %s: %v", what, c.name, err)
	synctest.Wait()
}

func (s *story) killVM() {
	c := s.anyone()
	if p := s.w.runtimes.process(c.name); p != nil {
		s.say("the VM of %s dies", c.name)
		c.reasons++
		p.Crash("killed")
	}
}

func (s *story) killPlugin() {
	c := s.anyone()
	if p := s.w.runtimes.process(c.name); p != nil {
		s.say("the plugin process of %s dies", c.name)
		c.reasons++
		if s.outlive {
			s.w.runtimes.abandon(c.name)
			return
		}
		s.w.runtimes.forget(p)
		p.kill()
	}
}

func (s *story) killProcess() {
	c := s.anyone()
	if !s.up || c.applied == nil {
		return
	}
	err := s.w.m.Kill(s.t.Context(), &api.KillRequest{Object: &api.Ref{Name: c.name}, Signal: 9})
	s.say("the process of %s is killed: %v", c.name, err)
}

// fault makes something fail from now on, or no longer.
func (s *story) fault() {
	image := fmt.Sprintf("example.com/app:%d", 1+s.rand.IntN(3))
	r := s.w.runtimes
	r.mu.Lock()
	defer r.mu.Unlock()
	switch what := s.rand.IntN(9); what {
	case 0:
		s.say("%s cannot be pulled", image)
		s.w.images.fail(image, errors.New("no route to host"))
	case 1:
		s.say("there is no kernel")
		s.w.kernels.set(kernels.ErrNotInstalled)
	case 2:
		s.say("plugin processes do not start")
		r.err = errors.New("cannot be started")
	case 3:
		s.say("VMs hang at boot")
		r.faults = fake.Faults{BootHang: true}
	case 4:
		s.say("VMs do not boot")
		r.faults = fake.Faults{BootDelay: duration(time.Second), BootError: "no answer"}
	case 5:
		s.say("VMs boot slowly and die soon")
		r.faults = fake.Faults{BootDelay: duration(20 * time.Second), CrashAfter: duration(30 * time.Second)}
	case 6:
		s.say("processes ignore signals")
		r.faults = fake.Faults{IgnoreSignals: true}
	default:
		s.clearFaults()
	}
}

func (s *story) clearFaults() {
	s.say("nothing fails any more")
	for i := range 3 {
		s.w.images.fail(fmt.Sprintf("example.com/app:%d", i+1), nil)
	}
	s.w.kernels.set(nil)
	s.w.runtimes.err, s.w.runtimes.faults = nil, fake.Faults{}
}

// end has the host in order again, so that all can converge.
func (s *story) end() {
	s.w.runtimes.mu.Lock()
	s.clearFaults()
	s.w.runtimes.mu.Unlock()
	s.w.missing.Store(false)
	if !s.up {
		s.restartDaemon()
	}
	if s.config == "" {
		s.config = "1"
	}
	s.writeConfig()
	after(2 * time.Hour)
}

// phase is where a sandbox should be at the end, empty if there should be none.
func (c *character) phase() manifests.Phase {
	switch {
	case c.applied == nil && c.broken:
		return manifests.PhasePending
	case c.applied == nil:
		return ""
	case c.stopped || c.applied.mode == "Suspended":
		return manifests.PhaseStopped
	case c.paused || c.applied.mode == "Paused":
		return manifests.PhasePaused
	}
	return manifests.PhaseRunning
}
