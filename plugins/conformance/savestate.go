package conformance

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// counting prints what it has in memory, again and again.
const counting = "n=0; trap 'exit 7' TERM; while :; do n=$((n+1)); echo $n; sleep 0.1; done"

// counter is a Writer that reads numbers.
type counter struct {
	mu          sync.Mutex
	part        string
	first, last int
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(c.part+string(p), "\n")
	c.part = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			continue
		}
		if c.first == 0 {
			c.first = n
		}
		c.last = n
	}
	return len(p), nil
}

func (c *counter) seen() (first, last int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first, c.last
}

// count follows the init process, which counts, and returns when it has gone
// beyond a number.
func (s *suite) count(rt drivers.Runtime, beyond int) (first, last int) {
	s.Helper()
	c := &counter{}
	go func() { _, _ = rt.Attach(s.ctx, s.opts.Container, drivers.Stdio{Stdout: c}) }()
	s.within(time.Minute, "the process counts", func() bool {
		_, last := c.seen()
		return last > beyond
	})
	return c.seen()
}

// saveTo saves a sandbox and returns where.
func (s *suite) saveTo(sb Sandbox, opts drivers.SaveOptions) string {
	s.Helper()
	path := filepath.Join(sb.Request.Bundle, "saved")
	if err := sb.Runtime.SaveState(s.ctx, path, opts); err != nil {
		s.Fatalf("save: %v", err)
	}
	return path
}

func restoredGoesOn(s *suite) {
	s.need(drivers.CapabilitySaveState, drivers.CapabilityAttach)
	sb := s.created(counting)
	rt := sb.Runtime
	s.bootAndStart(sb)
	for id, script := range map[string]string{"ended": "exit 3", "running": forever} {
		if err := errors.Join(rt.CreateProcess(s.ctx, id, s.opts.Container, sh(script)), rt.StartProcess(s.ctx, id)); err != nil {
			s.Fatalf("start %s: %v", id, err)
		}
	}
	s.wait(rt, "ended")
	_, last := s.count(rt, 5)
	path := s.saveTo(sb, drivers.SaveOptions{Stop: true})
	s.wantState(rt, drivers.StateStopped)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		s.Errorf("what was saved: %v, %v; want a private directory", info, err)
	}

	again := s.created(counting)
	if err := again.Runtime.RestoreState(s.ctx, again.Request, path); err != nil {
		s.Fatalf("restore: %v", err)
	}
	s.wantState(again.Runtime, drivers.StateRunning)
	s.refused(drivers.StateRunning, map[string]error{
		"restore state": again.Runtime.RestoreState(s.ctx, again.Request, path),
		"bootstrap":     again.Runtime.Bootstrap(s.ctx, again.Request),
	})
	if first, _ := s.count(again.Runtime, last); first < last {
		s.Errorf("the process counts from %d, it had come to %d", first, last)
	}
	if exit := s.wait(again.Runtime, "ended"); exit.Code != 3 {
		s.Errorf("exit of a process that had ended before: %s, want code 3", codeOf(exit))
	}
	if err := again.Runtime.Kill(s.ctx, "running", 15); err != nil {
		s.Fatalf("kill: %v", err)
	}
	if exit := s.wait(again.Runtime, "running"); exit.Code != 7 {
		s.Errorf("exit of a process that goes on: %s, want code 7", codeOf(exit))
	}
	if err := again.Runtime.CreateProcess(s.ctx, "new", s.opts.Container, sh("exit 4")); err != nil {
		s.Fatalf("create: %v", err)
	}
	if err := again.Runtime.StartProcess(s.ctx, "new"); err != nil {
		s.Fatalf("start: %v", err)
	}
	if exit := s.wait(again.Runtime, "new"); exit.Code != 4 {
		s.Errorf("exit of a new process: %s, want code 4", codeOf(exit))
	}
	if err := again.Runtime.Stop(s.ctx, drivers.StopOptions{GracePeriod: 30 * time.Second}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	if exit := s.wait(again.Runtime, s.opts.Container); exit.Code != 7 {
		s.Errorf("exit of the init process: %s, want code 7", codeOf(exit))
	}
}

func savedGoesOn(s *suite) {
	s.need(drivers.CapabilitySaveState, drivers.CapabilityAttach, drivers.CapabilityPause)
	sb := s.created(counting)
	rt := sb.Runtime
	path := filepath.Join(sb.Request.Bundle, "saved")
	s.refused(drivers.StateCreated, map[string]error{"save state": rt.SaveState(s.ctx, path, drivers.SaveOptions{})})
	if err := rt.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	save := func(state drivers.State) {
		s.Helper()
		if err := rt.SaveState(s.ctx, path+string(state), drivers.SaveOptions{}); err != nil {
			s.Fatalf("save when %s: %v", state, err)
		}
		s.wantState(rt, state)
		if err := rt.SaveState(s.ctx, path+string(state), drivers.SaveOptions{}); !errors.Is(err, drivers.ErrInvalidArgument) {
			s.Errorf("save over another: %v, want an invalid argument", err)
		}
	}
	save(drivers.StateBooted)
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start: %v", err)
	}
	_, last := s.count(rt, 2)
	save(drivers.StateRunning)
	s.count(rt, last)
	if err := rt.Pause(s.ctx); err != nil {
		s.Fatalf("pause: %v", err)
	}
	save(drivers.StatePaused)
	if err := rt.Resume(s.ctx); err != nil {
		s.Fatalf("resume: %v", err)
	}
	if err := rt.SaveState(s.ctx, "relative", drivers.SaveOptions{}); !errors.Is(err, drivers.ErrInvalidArgument) {
		s.Errorf("save at a relative path: %v, want an invalid argument", err)
	}
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	s.refused(drivers.StateStopped, map[string]error{
		"save state":    rt.SaveState(s.ctx, path, drivers.SaveOptions{}),
		"restore state": rt.RestoreState(s.ctx, sb.Request, path+string(drivers.StateBooted)),
	})
	if _, err := os.Lstat(path); err == nil {
		s.Errorf("a refused save left something")
	}
	// What was saved before the first start begins there.
	again := s.created(counting)
	if err := again.Runtime.RestoreState(s.ctx, again.Request, path+string(drivers.StateBooted)); err != nil {
		s.Fatalf("restore: %v", err)
	}
	s.wantState(again.Runtime, drivers.StateBooted)
	if err := again.Runtime.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start: %v", err)
	}
	s.count(again.Runtime, 1)
}

func damagedIsNotRestored(s *suite) {
	s.need(drivers.CapabilitySaveState)
	sb := s.created(forever)
	s.bootAndStart(sb)
	path := s.saveTo(sb, drivers.SaveOptions{Stop: true})
	refuse := func(what, path string) {
		s.Helper()
		again := s.created(forever)
		if err := again.Runtime.RestoreState(s.ctx, again.Request, path); err == nil {
			s.Errorf("restore of %s: no error", what)
		}
		s.wantState(again.Runtime, drivers.StateStopped)
	}
	refuse("nothing", path+"-not")
	var files []string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		s.Fatalf("look at what was saved: %v", err)
	}
	for _, f := range files {
		whole := f + ".whole"
		if err := os.Rename(f, whole); err != nil {
			s.Fatalf("%v", err)
		}
		refuse("a state without its "+filepath.Base(f), path)
		if s.beginning(f, whole) {
			refuse("a state with "+filepath.Base(f)+" cut short", path)
		}
		if err := os.Rename(whole, f); err != nil {
			s.Fatalf("%v", err)
		}
	}
	// What was refused in so many ways is good still.
	again := s.created(forever)
	if err := again.Runtime.RestoreState(s.ctx, again.Request, path); err != nil {
		s.Errorf("restore of what is whole: %v", err)
	}
}

// beginning makes a file that holds the first half of another, or some of it. It
// reports false if that has no half.
func (s *suite) beginning(path, of string) bool {
	s.Helper()
	from, err := os.Open(of) //nolint:gosec // the suite's own
	if err != nil {
		s.Fatalf("%v", err)
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		s.Fatalf("%v", err)
	}
	if info.Size() < 2 {
		return false
	}
	to, err := os.Create(path) //nolint:gosec // the suite's own
	if err != nil {
		s.Fatalf("%v", err)
	}
	defer to.Close()
	if _, err := io.CopyN(to, from, min(info.Size()/2, 1<<20)); err != nil {
		s.Fatalf("%v", err)
	}
	return true
}
